// Weight files to tensors, with an account of what was asked for.
#include "models/weights.h"

#include <algorithm>

#include "base/error.h"
#include "nn/large_tensor.h"

namespace precis::models {

namespace {

constexpr size_t kNamesShown = 10;

struct TypeRow {
  at::ScalarType scalar;
  WeightType weight;
  const char* dtype;
};

constexpr TypeRow kTypes[] = {
    {at::kFloat, WeightType::kF32, "float32"},
    {at::kBFloat16, WeightType::kBF16, "bfloat16"},
    {at::kHalf, WeightType::kF16, "float16"},
    {at::kDouble, WeightType::kF64, "float64"},
};

const TypeRow& row(at::ScalarType type) {
  for (const TypeRow& candidate : kTypes) {
    if (candidate.scalar == type) return candidate;
  }
  throw Error(ErrorKind::kInternal,
              {.what = "weights can't be of this type", .found = std::string(c10::toString(type))});
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

at::Tensor bytes_of(const at::Tensor& weight) { return weight.flatten().view(at::kByte); }

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamesShown); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kNamesShown) text += " and " + std::to_string(names.size() - kNamesShown) + " more";
  return text;
}

}  // namespace

WeightType weight_type(at::ScalarType type) { return row(type).weight; }

std::string dtype_name(at::ScalarType type) { return row(type).dtype; }

int64_t check_finite(const WeightFiles& files, const StopToken* stop) {
  constexpr int64_t kPart = int64_t{1} << 24;  // a multiple of every element's size
  std::vector<char> buffer;
  int64_t total = 0;
  for (const auto& [file, info] : files.distinct()) {
    const auto known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                    [&](const TypeRow& candidate) { return candidate.weight == info->type; });
    int64_t bad = 0;
    for (int64_t offset = 0; offset < info->bytes; offset += kPart) {
      throw_if_stopped(stop);
      const int64_t size = std::min(kPart, info->bytes - offset);
      buffer.resize(static_cast<size_t>(size));
      file->read_part(*info, offset, buffer.data(), buffer.size());
      total += size;
      if (known == std::end(kTypes)) continue;  // integers are finite
      const at::Tensor part = at::from_blob(buffer.data(), {size / element_size(info->type)}, known->scalar);
      bad += part.numel() - at::isfinite(part).sum().item<int64_t>();
    }
    if (bad == 0) continue;
    throw Error(ErrorKind::kModel,
                {.what = "weight '" + info->name + "' holds values that are not finite",
                 .where = file->path(),
                 .found = std::to_string(bad) + " of " +
                          std::to_string(info->bytes / element_size(info->type)) + " values"});
  }
  return total;
}

std::optional<std::string> first_not_finite(const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (!at::isfinite(tensor.detach()).all().item<bool>()) return name;
  }
  return std::nullopt;
}

WeightReader::WeightReader(const WeightFiles& files, at::ScalarType dtype) : files_(files), dtype_(dtype) {}

std::string WeightReader::resolve(const std::string& name) const {
  if (files_.find(name) != nullptr) return name;
  const auto alias = files_.metadata().find(name);
  return alias != files_.metadata().end() && files_.find(alias->second) != nullptr ? alias->second : "";
}

at::Tensor WeightReader::read(const WeightInfo& info) const {
  for (const TypeRow& candidate : kTypes) {
    if (candidate.weight != info.type) continue;
    at::Tensor tensor = nn::empty_weight(info.shape, candidate.scalar);
    files_.read(info.name, tensor.data_ptr(), static_cast<size_t>(info.bytes));
    return tensor;
  }
  throw Error(ErrorKind::kModel, {.what = "weight '" + info.name + "' has a type that is not read",
                                  .where = files_.path_of(info.name),
                                  .expected = "F64, F32, F16 or BF16",
                                  .found = precis::name(info.type)});
}

void WeightReader::check_equal(const WeightInfo& first, const WeightInfo& second) const {
  const bool same_kind = first.type == second.type && first.shape == second.shape;
  const bool same_bytes =
      first.begin == second.begin && files_.path_of(first.name) == files_.path_of(second.name);
  if (same_kind && same_bytes) return;
  if (same_kind && at::equal(bytes_of(read(first)), bytes_of(read(second)))) return;
  throw Error(ErrorKind::kModel,
              {.what = "'" + first.name + "' and '" + second.name +
                       "', which the configuration ties, have different values",
               .where = files_.path_of(second.name),
               .hint = "set tie_word_embeddings to false in config.json to keep them apart"});
}

at::Tensor WeightReader::take_if_present(const std::vector<std::string>& names, at::IntArrayRef shape) {
  const WeightInfo* found = nullptr;
  for (const std::string& name : names) {
    const std::string resolved = resolve(name);
    if (resolved.empty()) continue;
    const WeightInfo* info = files_.find(resolved);
    taken_.insert(resolved);
    if (found == nullptr) {
      found = info;
    } else if (info->name != found->name) {
      check_equal(*found, *info);
    }
  }
  if (found == nullptr) return at::Tensor();
  if (at::IntArrayRef(found->shape) != shape) {
    misshapen_.push_back(found->name + " is " + shape_text(found->shape) + ", the configuration says " +
                         shape_text(shape));
    return at::Tensor();
  }
  return read(*found).to(dtype_);
}

at::Tensor WeightReader::take(const std::vector<std::string>& names, at::IntArrayRef shape) {
  const size_t misshapen = misshapen_.size();
  const at::Tensor tensor = take_if_present(names, shape);
  if (!tensor.defined() && misshapen_.size() == misshapen) missing_.push_back(names.front());
  return tensor;
}

void WeightReader::check_complete() const {
  const std::string& where = files_.where();
  if (!misshapen_.empty()) {
    throw Error(ErrorKind::kModel, {.what = "weights of another shape than the configuration says",
                                    .where = where,
                                    .found = list(misshapen_)});
  }
  if (!missing_.empty()) {
    throw Error(ErrorKind::kModel,
                {.what = std::to_string(missing_.size()) + " weights are missing: " + list(missing_),
                 .where = where});
  }
}

std::vector<std::string> WeightReader::unexpected() const {
  std::vector<std::string> names;
  for (const std::string& name : files_.names()) {
    if (!taken_.contains(name)) names.push_back(name);
  }
  return names;
}

}  // namespace precis::models

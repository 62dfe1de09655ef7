// The table of element types, and reading by name.
#include "io/weight_file.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/error.h"

namespace precis {

static_assert(std::endian::native == std::endian::little, "weights are stored and used little-endian");

namespace {

struct TypeRow {
  const char* name;
  int64_t size;
};

constexpr WeightType kTypes[] = {WeightType::kI64,  WeightType::kF64, WeightType::kF32, WeightType::kI32,
                                 WeightType::kBF16, WeightType::kF16, WeightType::kI16, WeightType::kI8,
                                 WeightType::kU8,   WeightType::kBool};

// One for each of kTypes, which are the enumeration in its order.
constexpr TypeRow kRows[] = {{"I64", 8}, {"F64", 8}, {"F32", 4}, {"I32", 4}, {"BF16", 2},
                             {"F16", 2}, {"I16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}};
static_assert(std::size(kTypes) == std::size(kRows));

const TypeRow& row(WeightType type) { return kRows[static_cast<size_t>(type)]; }

[[noreturn]] void refuse(const WeightFile& file, std::string_view weight, std::string what,
                         std::string expected = "", std::string found = "") {
  throw Error(ErrorKind::kModel, {.what = std::move(what),
                                  .where = file.path() + ": weight '" + std::string(weight) + '\'',
                                  .expected = std::move(expected),
                                  .found = std::move(found)});
}

}  // namespace

std::span<const WeightType> weight_types() { return kTypes; }

int64_t element_size(WeightType type) { return row(type).size; }

const char* name(WeightType type) { return row(type).name; }

std::optional<int64_t> bytes_needed(WeightType type, std::span<const int64_t> shape) {
  int64_t total = element_size(type);
  bool empty = false;
  for (const int64_t size : shape) {
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(total, size, &total)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : total;
}

WeightFile::WeightFile(Descriptor file, std::vector<WeightInfo> weights,
                       std::map<std::string, std::string> metadata)
    : file_(std::move(file)), weights_(std::move(weights)), metadata_(std::move(metadata)) {
  // Empty weights share their begin with the one behind them.
  std::stable_sort(weights_.begin(), weights_.end(), [](const WeightInfo& a, const WeightInfo& b) {
    return std::pair(a.begin, a.bytes) < std::pair(b.begin, b.bytes);
  });
  for (size_t i = 0; i < weights_.size(); ++i) index_.emplace(weights_[i].name, i);
}

const WeightInfo* WeightFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &weights_[found->second];
}

void WeightFile::read(std::string_view name, void* destination, size_t size) const {
  const WeightInfo* weight = find(name);
  if (weight == nullptr) refuse(*this, name, "not in the file");
  if (static_cast<int64_t>(size) != weight->bytes) {
    refuse(*this, name, "size differs from what is asked for", std::to_string(size) + " bytes",
           std::to_string(weight->bytes));
  }
  read_part(*weight, 0, destination, size);
}

void WeightFile::read_part(const WeightInfo& weight, int64_t offset, void* destination, size_t size) const {
  if (offset < 0 || offset > weight.bytes || static_cast<int64_t>(size) > weight.bytes - offset) {
    throw Error(ErrorKind::kInternal, {.what = "read outside a weight's bytes", .where = weight.name});
  }
  if (file_.read_at(destination, size, weight.begin + offset) != size) {
    throw Error(ErrorKind::kIo, {.what = "file was cut after it was opened",
                                 .where = path() + ": weight '" + weight.name + '\'',
                                 .expected = std::to_string(weight.begin + weight.bytes) + " bytes",
                                 .found = std::to_string(file_.size())});
  }
}

}  // namespace precis

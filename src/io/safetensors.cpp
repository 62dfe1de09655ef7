// The safetensors format: 8 bytes of header length (little-endian), a JSON header, the weights' bytes.
#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "io/json.h"

namespace precis {

static_assert(std::endian::native == std::endian::little, "weights are stored and used little-endian");

namespace {

constexpr int64_t kLengthBytes = 8;
// The reference implementation's own limit.
constexpr uint64_t kMaxHeader = 100'000'000;

struct TypeRow {
  WeightType type;
  const char* name;
  int64_t size;
};

// In the order in which the reference implementation writes them.
constexpr TypeRow kTypes[] = {
    {WeightType::kI64, "I64", 8},   {WeightType::kF64, "F64", 8},   {WeightType::kF32, "F32", 4},
    {WeightType::kI32, "I32", 4},   {WeightType::kBF16, "BF16", 2}, {WeightType::kF16, "F16", 2},
    {WeightType::kI16, "I16", 2},   {WeightType::kI8, "I8", 1},     {WeightType::kU8, "U8", 1},
    {WeightType::kBool, "BOOL", 1},
};

const TypeRow& row(WeightType type) {
  return *std::find_if(std::begin(kTypes), std::end(kTypes),
                       [&](const TypeRow& r) { return r.type == type; });
}

// The place of an error: a file, and perhaps one of its weights.
struct Place {
  const std::string& file;
  const std::string* weight = nullptr;
};

[[noreturn]] void refuse(const Place& place, std::string what, std::string expected = "",
                         std::string found = "") {
  std::string where = place.file;
  if (place.weight != nullptr) where += ": weight '" + place.weight->substr(0, 200) + '\'';
  throw Error(ErrorKind::kModel, {.what = std::move(what),
                                  .where = std::move(where),
                                  .expected = std::move(expected),
                                  .found = std::move(found)});
}

const Json& member(const Json& object, const char* key, const Place& place) {
  const auto found = object.find(key);
  if (found == object.end()) refuse(place, std::string("no '") + key + "' in the header");
  return *found;
}

// A non-negative integer that fits 63 bits.
int64_t natural(const Json& value, const char* what, const Place& place) {
  const bool is_natural =
      value.is_number_unsigned() && value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
  if (!is_natural) refuse(place, std::string("bad ") + what, "an integer of 0 or more", shown(value));
  return value.get<int64_t>();
}

int64_t product(int64_t total, int64_t factor, const Place& place) {
  int64_t result;
  if (__builtin_mul_overflow(total, factor, &result))
    refuse(place, "shape too large", "fewer than 2^63 bytes");
  return result;
}

// Bytes that the shape and type need. Sizes other than zero are multiplied first, so that a zero beside them
// can't hide an overflow from whoever computes strides.
int64_t bytes_needed(const WeightInfo& weight, const Place& place) {
  int64_t total = element_size(weight.type);
  bool empty = false;
  for (const int64_t size : weight.shape) {
    if (size == 0) {
      empty = true;
    } else {
      total = product(total, size, place);
    }
  }
  return empty ? 0 : total;
}

WeightInfo parse_weight(const std::string& name, const Json& entry, int64_t data_start,
                        const std::string& file) {
  const Place place{file, &name};
  if (!entry.is_object()) refuse(place, "bad header entry", "an object", entry.type_name());
  WeightInfo weight{.name = name};

  const Json& type = member(entry, "dtype", place);
  const auto known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const TypeRow& r) { return type.is_string() && type == r.name; });
  if (known == std::end(kTypes)) {
    refuse(place, "unknown dtype", "one of F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL", shown(type));
  }
  weight.type = known->type;

  const Json& shape = member(entry, "shape", place);
  if (!shape.is_array()) refuse(place, "bad shape", "a list of sizes", shape.type_name());
  for (const Json& size : shape) weight.shape.push_back(natural(size, "shape", place));

  const Json& offsets = member(entry, "data_offsets", place);
  if (!offsets.is_array() || offsets.size() != 2) refuse(place, "bad data_offsets", "[begin, end]");
  const int64_t begin = natural(offsets[0], "data_offsets", place);
  const int64_t end = natural(offsets[1], "data_offsets", place);
  if (end < begin) refuse(place, "bad data_offsets", "begin <= end", shown(offsets));
  weight.bytes = end - begin;
  const int64_t needed = bytes_needed(weight, place);
  if (weight.bytes != needed) {
    refuse(place, "dtype and shape don't match the byte range", std::to_string(needed) + " bytes",
           std::to_string(weight.bytes));
  }
  if (__builtin_add_overflow(begin, data_start, &weight.begin)) refuse(place, "bytes beyond the file's end");
  return weight;
}

// Each byte of the data belongs to exactly one weight.
void check_cover(const std::vector<WeightInfo>& weights, int64_t data_start, int64_t file_size,
                 const std::string& file) {
  int64_t position = data_start;
  for (const WeightInfo& weight : weights) {
    const Place place{file, &weight.name};
    if (weight.begin < position) refuse(place, "bytes overlap those of another weight");
    if (weight.begin > position) refuse(place, "bytes that belong to no weight before this one");
    if (weight.bytes > file_size - position) {
      refuse(place, "bytes beyond the file's end",
             std::to_string(position + weight.bytes) + " bytes in the file", std::to_string(file_size));
    }
    position += weight.bytes;
  }
  if (position != file_size) {
    refuse({file}, "bytes that belong to no weight at the file's end",
           std::to_string(position) + " bytes in the file", std::to_string(file_size));
  }
}

}  // namespace

int64_t element_size(WeightType type) { return row(type).size; }

const char* name(WeightType type) { return row(type).name; }

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile result(open_for_reading(path, ErrorKind::kModel));
  const std::string& file = result.path();
  if (!result.file_.is_regular()) refuse({file}, "not a regular file");
  const int64_t file_size = result.file_.size();

  uint64_t length = 0;
  if (result.file_.read_at(&length, kLengthBytes, 0) < kLengthBytes) {
    refuse({file}, "not a safetensors file", "at least 8 bytes", std::to_string(file_size));
  }
  if (length > kMaxHeader) {
    refuse({file}, "safetensors header too long", "at most 100,000,000 bytes", std::to_string(length));
  }
  if (static_cast<int64_t>(length) > file_size - kLengthBytes) {
    refuse({file}, "safetensors header beyond the file's end",
           "a file of " + std::to_string(length + kLengthBytes) + " bytes", std::to_string(file_size));
  }
  std::string text(length, '\0');
  if (result.file_.read_at(text.data(), length, kLengthBytes) < length)
    refuse({file}, "file cut while being read");
  if (text.empty() || text[0] != '{') refuse({file}, "bad safetensors header", "a JSON object");
  const Json header = parse_json(text, file + " (header)", ErrorKind::kModel);

  const int64_t data_start = kLengthBytes + static_cast<int64_t>(length);
  for (const auto& [key, entry] : header.items()) {
    if (key != "__metadata__") {
      result.weights_.push_back(parse_weight(key, entry, data_start, file));
      continue;
    }
    if (!entry.is_object()) refuse({file}, "bad __metadata__", "an object of strings", entry.type_name());
    for (const auto& [name, value] : entry.items()) {
      if (!value.is_string()) refuse({file}, "bad __metadata__", "strings", shown(value));
      result.metadata_[name] = value.get<std::string>();
    }
  }
  // Empty weights share their begin with the one behind them.
  std::stable_sort(result.weights_.begin(), result.weights_.end(),
                   [](const WeightInfo& a, const WeightInfo& b) {
                     return std::pair(a.begin, a.bytes) < std::pair(b.begin, b.bytes);
                   });
  check_cover(result.weights_, data_start, file_size, file);
  for (size_t i = 0; i < result.weights_.size(); ++i) result.index_.emplace(result.weights_[i].name, i);
  return result;
}

const WeightInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &weights_[found->second];
}

void SafetensorsFile::read(std::string_view name, void* destination, size_t size) const {
  const WeightInfo* weight = find(name);
  const std::string wanted(name);
  if (weight == nullptr) refuse({path(), &wanted}, "not in the file");
  if (static_cast<int64_t>(size) != weight->bytes) {
    refuse({path(), &wanted}, "size differs from what is asked for", std::to_string(size) + " bytes",
           std::to_string(weight->bytes));
  }
  read_part(*weight, 0, destination, size);
}

void SafetensorsFile::read_part(const WeightInfo& weight, int64_t offset, void* destination,
                                size_t size) const {
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

void write_safetensors(FileSystem& files, const std::filesystem::path& path, std::vector<WeightBytes> weights,
                       const std::map<std::string, std::string>& metadata) {
  std::sort(weights.begin(), weights.end(), [](const WeightBytes& a, const WeightBytes& b) {
    const auto rank = [](const WeightBytes& w) { return &row(w.type) - std::begin(kTypes); };
    return std::pair(rank(a), std::string_view(a.name)) < std::pair(rank(b), std::string_view(b.name));
  });
  std::string head;
  const auto append_member = [&](const std::string& key, const Json& value) {
    // Appended as text: inserting into an ordered object walks it.
    head += head.empty() ? '{' : ',';
    head += dump_json(key);
    head += ':';
    head += dump_json(value);
  };
  if (!metadata.empty()) append_member("__metadata__", Json(metadata));
  std::vector<int64_t> sizes;
  std::unordered_map<std::string_view, int> seen;
  int64_t position = 0;
  for (const WeightBytes& weight : weights) {
    if (weight.name == "__metadata__" || seen[weight.name]++ != 0) {
      throw Error(ErrorKind::kInternal, {.what = "weight name used twice", .where = weight.name});
    }
    const std::string where = path.string();
    sizes.push_back(bytes_needed({.name = weight.name, .type = weight.type, .shape = weight.shape},
                                 {where, &weight.name}));
    append_member(weight.name, {{"dtype", name(weight.type)},
                                {"shape", weight.shape},
                                {"data_offsets", {position, position + sizes.back()}}});
    position += sizes.back();
  }
  head += head.empty() ? "{}" : "}";
  head.resize((head.size() + 7) / 8 * 8, ' ');
  const uint64_t length = head.size();
  std::string prefix(reinterpret_cast<const char*>(&length), sizeof length);

  const std::unique_ptr<OutputFile> file = files.create(path);
  file->write(prefix + head);
  for (size_t i = 0; i < weights.size(); ++i) {
    file->write({static_cast<const char*>(weights[i].bytes), static_cast<size_t>(sizes[i])});
  }
  file->sync();
  file->close();
}

}  // namespace precis

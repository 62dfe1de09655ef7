// The safetensors format: 8 bytes of header length (little-endian), a JSON header, the weights' bytes.
#include "io/safetensors.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "io/json.h"

namespace precis {

namespace {

constexpr int64_t kLengthBytes = 8;
// The reference implementation's own limit.
constexpr uint64_t kMaxHeader = 100'000'000;

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

int64_t needed_bytes(WeightType type, const std::vector<int64_t>& shape, const Place& place) {
  const std::optional<int64_t> bytes = bytes_needed(type, shape);
  if (!bytes) refuse(place, "shape too large", "fewer than 2^63 bytes");
  return *bytes;
}

WeightType parse_type(const Json& type, const Place& place) {
  std::string names;
  for (const WeightType known : weight_types()) {
    if (type.is_string() && type == name(known)) return known;
    names += (names.empty() ? "" : ", ") + std::string(name(known));
  }
  refuse(place, "unknown dtype", "one of " + names, shown(type));
}

WeightInfo parse_weight(const std::string& name, const Json& entry, int64_t data_start,
                        const std::string& file) {
  const Place place{file, &name};
  if (!entry.is_object()) refuse(place, "bad header entry", "an object", entry.type_name());
  WeightInfo weight{.name = name};

  weight.type = parse_type(member(entry, "dtype", place), place);
  const Json& shape = member(entry, "shape", place);
  if (!shape.is_array()) refuse(place, "bad shape", "a list of sizes", shape.type_name());
  for (const Json& size : shape) weight.shape.push_back(natural(size, "shape", place));

  const Json& offsets = member(entry, "data_offsets", place);
  if (!offsets.is_array() || offsets.size() != 2) refuse(place, "bad data_offsets", "[begin, end]");
  const int64_t begin = natural(offsets[0], "data_offsets", place);
  const int64_t end = natural(offsets[1], "data_offsets", place);
  if (end < begin) refuse(place, "bad data_offsets", "begin <= end", shown(offsets));
  weight.bytes = end - begin;
  const int64_t needed = needed_bytes(weight.type, weight.shape, place);
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

WeightFile open_safetensors(const std::filesystem::path& path) {
  Descriptor descriptor = open_for_reading(path, ErrorKind::kModel);
  const std::string file = descriptor.name();
  const int64_t file_size = descriptor.size();

  uint64_t length = 0;
  if (descriptor.read_at(&length, kLengthBytes, 0) < kLengthBytes) {
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
  if (descriptor.read_at(text.data(), length, kLengthBytes) < length)
    refuse({file}, "file cut while being read");
  if (text.empty() || text[0] != '{') refuse({file}, "bad safetensors header", "a JSON object");
  const Json header = parse_json(text, file + " (header)", ErrorKind::kModel);

  const int64_t data_start = kLengthBytes + static_cast<int64_t>(length);
  std::vector<WeightInfo> weights;
  std::map<std::string, std::string> metadata;
  for (const auto& [key, entry] : header.items()) {
    if (key != "__metadata__") {
      weights.push_back(parse_weight(key, entry, data_start, file));
      continue;
    }
    if (!entry.is_object()) refuse({file}, "bad __metadata__", "an object of strings", entry.type_name());
    for (const auto& [name, value] : entry.items()) {
      if (!value.is_string()) refuse({file}, "bad __metadata__", "strings", shown(value));
      metadata[name] = value.get<std::string>();
    }
  }
  WeightFile result(std::move(descriptor), std::move(weights), std::move(metadata));
  check_cover(result.weights(), data_start, file_size, file);
  return result;
}

void write_safetensors(FileSystem& files, const std::filesystem::path& path, std::vector<WeightBytes> weights,
                       const std::map<std::string, std::string>& metadata) {
  std::sort(weights.begin(), weights.end(), [](const WeightBytes& a, const WeightBytes& b) {
    return std::pair(a.type, std::string_view(a.name)) < std::pair(b.type, std::string_view(b.name));
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
  std::unordered_set<std::string_view> seen;
  int64_t position = 0;
  for (const WeightBytes& weight : weights) {
    if (weight.name == "__metadata__" || !seen.insert(weight.name).second) {
      throw Error(ErrorKind::kInternal, {.what = "weight name used twice", .where = weight.name});
    }
    const std::string where = path.string();
    sizes.push_back(needed_bytes(weight.type, weight.shape, {where, &weight.name}));
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

// Zip: the end record leads to the central directory, its entries to the members' own headers.
#include "io/zip.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "io/json.h"

namespace precis {

namespace {

constexpr std::string_view kEnd("PK\5\6", 4), kLocator("PK\6\7", 4), kEnd64("PK\6\6", 4);
constexpr std::string_view kEntry("PK\1\2", 4), kLocal("PK\3\4", 4);
constexpr size_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kEntryBytes = 46, kLocalBytes = 30;
constexpr size_t kLongestComment = 65535;
constexpr uint64_t kMaxDirectory = 100'000'000;
// A field with this value has its true one in a zip64 record.
constexpr uint64_t kElsewhere16 = 0xFFFF, kElsewhere32 = 0xFFFFFFFF;

[[noreturn]] void refuse(const Descriptor& file, std::string what, std::string found = "",
                         std::string hint = "") {
  throw Error(
      ErrorKind::kModel,
      {.what = std::move(what), .where = file.name(), .found = std::move(found), .hint = std::move(hint)});
}

// `size` bytes at `at`, the lowest first. The caller knows that they are there.
uint64_t natural(std::string_view record, size_t at, size_t size) {
  uint64_t value = 0;
  std::memcpy(&value, record.data() + at, size);
  return value;
}

// What there is of `size` bytes at `offset`.
std::string read(const Descriptor& file, uint64_t offset, size_t size) {
  std::string bytes(size, '\0');
  bytes.resize(file.read_at(bytes.data(), size, static_cast<int64_t>(offset)));
  return bytes;
}

// A record of a fixed size that begins with its signature, as far from the start as `offset` says.
std::string read_record(const Descriptor& file, uint64_t offset, std::string_view signature, size_t size,
                        const char* what) {
  const auto file_size = static_cast<uint64_t>(file.size());
  if (offset > file_size || size > file_size - offset)
    refuse(file, std::string(what) + " beyond the file's end");
  std::string record = read(file, offset, size);
  if (record.size() < size || !record.starts_with(signature)) {
    refuse(file, std::string(what) + " is damaged");
  }
  return record;
}

struct Directory {
  uint64_t begin = 0;
  uint64_t bytes = 0;
  uint64_t entries = 0;
};

// The end record is the last thing in the file but for a comment whose length it states.
Directory find_directory(const Descriptor& file) {
  const auto file_size = static_cast<size_t>(file.size());
  const size_t tail_bytes = std::min(file_size, kEndBytes + kLongestComment);
  const size_t tail_begin = file_size - tail_bytes;
  const std::string tail = read(file, tail_begin, tail_bytes);
  size_t at = tail.size() < kEndBytes ? std::string::npos : tail.rfind(kEnd, tail.size() - kEndBytes);
  while (at != std::string::npos && natural(tail, at + 20, 2) != tail.size() - at - kEndBytes) {
    at = at == 0 ? std::string::npos : tail.rfind(kEnd, at - 1);
  }
  if (at == std::string::npos) refuse(file, "not a zip archive, or cut short: it has no end record");

  const std::string_view end = std::string_view(tail).substr(at);
  bool one_file = natural(end, 4, 2) == natural(end, 6, 2) && natural(end, 8, 2) == natural(end, 10, 2);
  Directory directory = {
      .begin = natural(end, 16, 4), .bytes = natural(end, 12, 4), .entries = natural(end, 10, 2)};
  uint64_t limit = tail_begin + at;
  const bool has_64 = limit >= kLocatorBytes && read(file, limit - kLocatorBytes, 4) == kLocator;
  if (has_64) {
    limit -= kLocatorBytes;
    const std::string locator = read_record(file, limit, kLocator, kLocatorBytes, "the zip64 locator");
    const uint64_t offset = natural(locator, 8, 8);
    const std::string end64 = read_record(file, offset, kEnd64, kEnd64Bytes, "the zip64 end record");
    one_file = natural(locator, 4, 4) == 0 && natural(locator, 16, 4) <= 1 && natural(end64, 16, 4) == 0 &&
               natural(end64, 20, 4) == 0 && natural(end64, 24, 8) == natural(end64, 32, 8);
    directory = {
        .begin = natural(end64, 48, 8), .bytes = natural(end64, 40, 8), .entries = natural(end64, 32, 8)};
    limit = offset;
  }
  if (!one_file) refuse(file, "a zip archive in several parts");
  if (directory.bytes > kMaxDirectory) {
    refuse(file, "a zip directory of more than 100 MB", std::to_string(directory.bytes) + " bytes");
  }
  if (directory.begin > limit || directory.bytes > limit - directory.begin) {
    refuse(file, "the zip directory lies beyond its end record");
  }
  return directory;
}

// Puts the true values in place of those that stand in the extra field of zip64: 8 bytes each, in this order.
void resolve_64(const Descriptor& file, std::string_view extra, std::initializer_list<uint64_t*> fields) {
  if (std::none_of(fields.begin(), fields.end(), [](const uint64_t* f) { return *f == kElsewhere32; }))
    return;
  constexpr uint64_t kZip64 = 1;
  while (extra.size() >= 4) {
    const uint64_t id = natural(extra, 0, 2), size = natural(extra, 2, 2);
    extra.remove_prefix(4);
    if (size > extra.size()) break;
    std::string_view values = extra.substr(0, size);
    extra.remove_prefix(size);
    if (id != kZip64) continue;
    for (uint64_t* field : fields) {
      if (*field != kElsewhere32) continue;
      if (values.size() < 8) refuse(file, "a zip64 field is cut short");
      *field = natural(values, 0, 8);
      values.remove_prefix(8);
    }
    return;
  }
  refuse(file, "a zip64 field is missing");
}

}  // namespace

std::map<std::string, ZipMember> read_zip_directory(const Descriptor& file) {
  const Directory directory = find_directory(file);
  const std::string bytes = read(file, directory.begin, directory.bytes);
  if (bytes.size() < directory.bytes) refuse(file, "file cut while being read");
  std::map<std::string, ZipMember> members;
  std::string_view rest = bytes;
  uint64_t entries = 0;
  for (; !rest.empty(); ++entries) {
    if (rest.size() < kEntryBytes || !rest.starts_with(kEntry)) refuse(file, "the zip directory is damaged");
    const uint64_t flags = natural(rest, 8, 2), method = natural(rest, 10, 2), part = natural(rest, 34, 2);
    uint64_t packed = natural(rest, 20, 4), size = natural(rest, 24, 4), offset = natural(rest, 42, 4);
    const size_t name_bytes = natural(rest, 28, 2), extra_bytes = natural(rest, 30, 2);
    const size_t all = kEntryBytes + name_bytes + extra_bytes + natural(rest, 32, 2);
    if (all > rest.size()) refuse(file, "the zip directory is damaged");
    const std::string name(rest.substr(kEntryBytes, name_bytes));
    resolve_64(file, rest.substr(kEntryBytes + name_bytes, extra_bytes), {&size, &packed, &offset});
    rest.remove_prefix(all);

    if ((flags & 1) != 0) refuse(file, "an encrypted zip member", shown(name));
    if (method != 0 || packed != size) {
      refuse(file, "a compressed zip member", shown(name), "torch.save() stores its members as they are");
    }
    if (part != 0 && part != kElsewhere16) refuse(file, "a zip archive in several parts");
    const std::string local = read_record(file, offset, kLocal, kLocalBytes, "the header of a zip member");
    const uint64_t begin = offset + kLocalBytes + natural(local, 26, 2) + natural(local, 28, 2);
    if (begin > directory.begin || size > directory.begin - begin) {
      refuse(file, "a zip member reaches beyond the directory", shown(name));
    }
    const ZipMember member = {static_cast<int64_t>(begin), static_cast<int64_t>(size)};
    if (!members.emplace(name, member).second)
      refuse(file, "a zip member of the same name twice", shown(name));
  }
  if (entries != directory.entries) {
    refuse(file, "the zip directory is damaged: it holds another number of entries than it says");
  }
  return members;
}

}  // namespace precis

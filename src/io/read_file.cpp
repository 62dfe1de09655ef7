// Reads by pieces: nothing is allocated from a size that the file system reports.
#include "io/read_file.h"

#include <algorithm>
#include <system_error>

#include "io/descriptor.h"

namespace precis {

bool has_entry(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::symlink_status(path, ignored).type() != std::filesystem::file_type::not_found;
}

std::string read_file(const std::filesystem::path& path, ErrorKind kind, int64_t limit,
                      const StopToken* stop) {
  const Descriptor file = open_for_reading(path, kind, stop);
  std::string bytes;
  size_t room = size_t{1} << 16;
  for (;;) {
    const size_t before = bytes.size();
    bytes.resize(before + room);
    const size_t got = file.read(bytes.data() + before, room);
    bytes.resize(before + got);
    if (got == 0) return bytes;
    if (static_cast<int64_t>(bytes.size()) > limit) {
      throw Error(kind, {.what = "file too large",
                         .where = path.string(),
                         .expected = "at most " + std::to_string(limit) + " bytes"});
    }
    room = std::min<size_t>(bytes.size(), size_t{1} << 24);
  }
}

}  // namespace precis

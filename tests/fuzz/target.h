// What fuzz targets share: bytes give a value or one of the errors that the reader's contract names; any
// other exception, a sanitizer's finding, a time-out and memory without bound end the run.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/error.h"

namespace precis {

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A property that holds for all bytes.
inline void require(bool holds) {
  if (!holds) std::abort();
}

// Errors of other kinds go on to end the run, with their message.
template <typename Work>
void value_or_error(std::initializer_list<ErrorKind> kinds, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (std::find(kinds.begin(), kinds.end(), error.kind()) == kinds.end()) throw;
    require(!error.details().what.empty());
  }
}

// The part of `bytes` before the first `mark`, which is taken off together with it.
inline std::string_view take_part(std::string_view& bytes, char mark) {
  const size_t end = std::min(bytes.find(mark), bytes.size());
  const std::string_view part = bytes.substr(0, end);
  bytes.remove_prefix(std::min(end + 1, bytes.size()));
  return part;
}

// A folder of the process's own, in memory where there is such a place; removed at its end.
class FuzzFolder {
 public:
  FuzzFolder() {
    const bool shm = std::filesystem::is_directory("/dev/shm");
    path_ = (shm ? "/dev/shm" : std::filesystem::temp_directory_path()) /
            ("precis-fuzz-" + std::to_string(getpid()));
    std::filesystem::create_directories(path_);
  }
  ~FuzzFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FuzzFolder(const FuzzFolder&) = delete;
  FuzzFolder& operator=(const FuzzFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const char* name, std::string_view bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }
  void remove(const char* name) const { std::filesystem::remove(path_ / name); }

 private:
  std::filesystem::path path_;
};

}  // namespace precis

// A file of bytes that is on no disk, for readers that want a path: thousands a second.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace precis {

class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : number_(memfd_create("test", MFD_CLOEXEC)) {
    while (!bytes.empty()) {
      const ssize_t written = write(number_, bytes.data(), bytes.size());
      if (written <= 0) break;  // a shorter file fails the test that wrote it
      bytes.remove_prefix(static_cast<size_t>(written));
    }
  }
  ~MemoryFile() { close(number_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(number_); }

 private:
  int number_;
};

}  // namespace precis

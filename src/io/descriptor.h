// An open file for reading: positional and sequential reads whose errors name the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"

namespace precis {

// Owns a POSIX file descriptor. Movable; not shared between threads except for read_at.
class Descriptor {
 public:
  Descriptor(int number, std::string name, bool owned)
      : number_(number), name_(std::move(name)), owned_(owned) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  // Up to `size` bytes; 0 at the end. A failing read is Error{kIo}.
  size_t read(void* destination, size_t size) const;
  // Exactly `size` bytes at `offset`, or as many as there are before the file's end. Error{kIo}.
  size_t read_at(void* destination, size_t size, int64_t offset) const;

  // Bytes of a regular file as fstat reports them now.
  int64_t size() const;
  bool is_regular() const;
  const std::string& name() const { return name_; }

 private:
  int number_;
  std::string name_;
  bool owned_;
};

// Missing, unreadable, or a directory: Error of `kind` naming the path.
Descriptor open_for_reading(const std::filesystem::path& path, ErrorKind kind);
// Standard input, named "-".
Descriptor standard_input();

}  // namespace precis

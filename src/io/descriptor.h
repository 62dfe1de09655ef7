// An open file for reading: positional and sequential reads whose errors name the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/stop.h"

namespace precis {

// Owns a POSIX file descriptor. Movable; not shared between threads except for read_at.
class Descriptor {
 public:
  // With `stop`, a read that waits for a pipe's writer ends when a stop is requested.
  Descriptor(int number, std::string name, bool owned, const StopToken* stop = nullptr)
      : number_(number), name_(std::move(name)), owned_(owned), stop_(stop) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  // Up to `size` bytes; 0 at the end. A failing read is Error{kIo}, a stop Error of its reason.
  size_t read(void* destination, size_t size) const;
  // Exactly `size` bytes at `offset`, or as many as there are before the file's end. Error{kIo}.
  size_t read_at(void* destination, size_t size, int64_t offset) const;

  // Bytes of a regular file as fstat reports them now.
  int64_t size() const;
  bool is_regular() const;
  const std::string& name() const { return name_; }

 private:
  void wait() const;

  int number_;
  std::string name_;
  bool owned_;
  const StopToken* stop_;
};

// Missing, unreadable, or a directory: Error of `kind` naming the path. With `stop`, a FIFO that has no
// writer yet is waited for in read(), not here.
Descriptor open_for_reading(const std::filesystem::path& path, ErrorKind kind,
                            const StopToken* stop = nullptr);
// Standard input, named "-".
Descriptor standard_input(const StopToken* stop = nullptr);

}  // namespace precis

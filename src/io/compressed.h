// A stream of bytes from a plain, .gz or .zst file, or from standard input, in bounded memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

#include "base/stop.h"

namespace precis {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Up to `size` bytes; 0 only at the end. Compressed data that is damaged, cut short or followed by
  // something else is Error{kData}; a failing read is Error{kIo}.
  virtual size_t read(char* destination, size_t size) = 0;
};

// "-" is standard input, read as it comes. Otherwise the last extension decides: ".gz" (one or more members),
// ".zst" (one or more frames), else plain bytes. A missing or unreadable file and a directory are
// Error{kData}; a FIFO is read like a file. A stop ends a read that waits for more, as Error of its reason.
std::unique_ptr<ByteStream> open_stream(const std::filesystem::path& path, const StopToken* stop = nullptr);

// The path's name without a final ".gz" or ".zst": what decides about the format within.
std::filesystem::path without_compression(const std::filesystem::path& path);

}  // namespace precis

// Reads a compressed stream to its end, or as far as a bomb is of interest.
#pragma once

#include <vector>

#include "fuzz/target.h"
#include "io/compressed.h"

namespace precis {

inline void read_stream(const char* name, const uint8_t* data, size_t size) {
  static const FuzzFolder folder;
  const std::filesystem::path path = folder.write(name, text_of(data, size));
  value_or_error({ErrorKind::kData}, [&] {
    constexpr size_t kMost = size_t{1} << 24;
    const std::unique_ptr<ByteStream> stream = open_stream(path);
    std::vector<char> buffer(size_t{1} << 14);
    size_t total = 0;
    while (const size_t got = stream->read(buffer.data(), buffer.size())) {
      require(got <= buffer.size());
      if ((total += got) > kMost) return;
    }
    require(stream->read(buffer.data(), buffer.size()) == 0);  // the end is the end
  });
}

}  // namespace precis

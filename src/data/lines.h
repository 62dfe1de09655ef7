// Lines of a byte stream, ended by '\n' only, of bounded length.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/compressed.h"

namespace precis {

// A line without its end, valid until the next call.
struct Line {
  std::string_view text;
  int64_t number = 1;     // from 1
  int64_t byte = 0;       // offset of its first byte in the (decompressed) file
  bool too_long = false;  // `text` is then only its beginning; the next call reads on behind its end
};

class LineReader {
 public:
  // A byte order mark at the start is left out.
  LineReader(std::unique_ptr<ByteStream> stream, int64_t max_bytes);
  // False at the end. A last line without '\n' is a line where it has bytes.
  bool next(Line& line);

 private:
  std::string_view fill();
  void skip_rest();

  std::unique_ptr<ByteStream> stream_;
  int64_t max_bytes_;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::string held_;  // a line that spans buffers
  int64_t number_ = 0;
  bool inside_ = false;  // of a line that was too long
  int64_t byte_ = 0;
};

}  // namespace precis

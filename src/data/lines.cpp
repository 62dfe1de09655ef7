// Splits at '\n' without copying lines that lie in one buffer.
#include "data/lines.h"

#include <algorithm>
#include <utility>

namespace precis {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

LineReader::LineReader(std::unique_ptr<ByteStream> stream, int64_t max_bytes)
    : stream_(std::move(stream)), max_bytes_(max_bytes), buffer_(size_t{1} << 18) {
  // A pipe may give single bytes.
  while (end_ < kByteOrderMark.size()) {
    const size_t got = stream_->read(buffer_.data() + end_, buffer_.size() - end_);
    if (got == 0) break;
    end_ += got;
  }
  if (std::string_view(buffer_.data(), end_).substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    begin_ = kByteOrderMark.size();
    byte_ = static_cast<int64_t>(begin_);
  }
}

std::string_view LineReader::fill() {
  if (begin_ == end_) {
    begin_ = 0;
    end_ = stream_->read(buffer_.data(), buffer_.size());
  }
  return {buffer_.data() + begin_, end_ - begin_};
}

// Only now, when the next line is wanted: an endless line is an error, and no wait for ever.
void LineReader::skip_rest() {
  for (std::string_view bytes; inside_ && !(bytes = fill()).empty();) {
    const size_t end = bytes.find('\n');
    inside_ = end == std::string_view::npos;
    const size_t used = inside_ ? bytes.size() : end + 1;
    begin_ += used;
    byte_ += static_cast<int64_t>(used);
  }
}

bool LineReader::next(Line& line) {
  skip_rest();
  held_.clear();
  line = {.number = ++number_, .byte = byte_};
  const auto take = [&](std::string_view bytes) {
    const int64_t room = max_bytes_ - static_cast<int64_t>(held_.size());
    if (static_cast<int64_t>(bytes.size()) > room) line.too_long = true;
    held_.append(
        bytes.substr(0, static_cast<size_t>(std::min<int64_t>(room, static_cast<int64_t>(bytes.size())))));
  };
  for (std::string_view bytes; !(bytes = fill()).empty();) {
    const size_t length = std::min(bytes.find('\n'), bytes.size());
    const bool ends = length < bytes.size();
    const size_t used = length + (ends ? 1 : 0);
    begin_ += used;
    byte_ += static_cast<int64_t>(used);
    if (ends && held_.empty() && static_cast<int64_t>(length) <= max_bytes_) {
      line.text = bytes.substr(0, length);
      return true;
    }
    take(bytes.substr(0, length));
    if (ends || line.too_long) {
      inside_ = !ends;
      line.text = held_;
      return true;
    }
  }
  line.text = held_;
  return !held_.empty();
}

}  // namespace precis

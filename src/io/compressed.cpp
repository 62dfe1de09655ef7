// Streaming decompression with zlib and zstd.
#include "io/compressed.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/descriptor.h"

namespace precis {

namespace {

class PlainStream : public ByteStream {
 public:
  explicit PlainStream(Descriptor file) : file_(std::move(file)) {}
  size_t read(char* destination, size_t size) override { return file_.read(destination, size); }

 private:
  Descriptor file_;
};

// The compressed bytes, piece by piece.
class Input {
 public:
  explicit Input(Descriptor file) : file_(std::move(file)), buffer_(size_t{1} << 16) {}

  // What has been read and not yet used; reads more where that is nothing. Empty at the end of the file.
  std::string_view peek() {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = file_.read(buffer_.data(), buffer_.size());
    }
    return {buffer_.data() + begin_, end_ - begin_};
  }
  void use(size_t bytes) {
    begin_ += bytes;
    offset_ += static_cast<int64_t>(bytes);
  }
  [[noreturn]] void refuse(std::string what) const {
    throw Error(ErrorKind::kData, {.what = std::move(what),
                                   .where = file_.name(),
                                   .found = "the fault at compressed byte " + std::to_string(offset_)});
  }

 private:
  Descriptor file_;
  std::vector<char> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  int64_t offset_ = 0;
};

class GzipStream : public ByteStream {
 public:
  explicit GzipStream(Descriptor file) : input_(std::move(file)) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    if (inflateInit2(&zlib_, kGzipOnly) != Z_OK) throw std::bad_alloc();
  }
  ~GzipStream() override { inflateEnd(&zlib_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  size_t read(char* destination, size_t size) override {
    size = std::min<size_t>(size, UINT_MAX);
    while (!finished_) {
      const std::string_view input = input_.peek();
      if (between_members_ && !start_member(input)) break;
      if (input.empty()) input_.refuse("gzip data cut short");
      zlib_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
      zlib_.avail_in = static_cast<uInt>(input.size());
      zlib_.next_out = reinterpret_cast<Bytef*>(destination);
      zlib_.avail_out = static_cast<uInt>(size);
      const int result = inflate(&zlib_, Z_NO_FLUSH);
      input_.use(input.size() - zlib_.avail_in);
      if (result == Z_MEM_ERROR) throw std::bad_alloc();
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        input_.refuse(std::string("gzip data damaged: ") +
                      (zlib_.msg != nullptr ? zlib_.msg : "no reason given"));
      }
      if (result == Z_STREAM_END) between_members_ = true;
      const size_t made = size - zlib_.avail_out;
      if (made > 0) return made;
    }
    return 0;
  }

 private:
  // Behind a member comes the end, another member, or zeros that pad to a block of the medium.
  bool start_member(std::string_view input) {
    if (input.empty()) {
      finished_ = true;
      return false;
    }
    if (input[0] == '\0') {
      for (; !input.empty(); input = input_.peek()) {
        if (input.find_first_not_of('\0') != std::string_view::npos)
          input_.refuse("not gzip data after the last member");
        input_.use(input.size());
      }
      finished_ = true;
      return false;
    }
    inflateReset(&zlib_);
    between_members_ = false;
    return true;
  }

  Input input_;
  z_stream zlib_ = {};
  bool between_members_ = false;
  bool finished_ = false;
};

class ZstdStream : public ByteStream {
 public:
  explicit ZstdStream(Descriptor file)
      : input_(std::move(file)), zstd_(ZSTD_createDStream(), ZSTD_freeDStream) {
    if (zstd_ == nullptr) throw std::bad_alloc();
  }

  size_t read(char* destination, size_t size) override {
    for (;;) {
      // The decoder may hold more output than fitted last time, with all of its input used.
      const std::string_view bytes = has_more_output_ ? std::string_view() : input_.peek();
      if (bytes.empty() && !has_more_output_) {
        if (!at_frame_end_) input_.refuse("zstd data cut short");
        return 0;
      }
      ZSTD_inBuffer in = {bytes.data(), bytes.size(), 0};
      ZSTD_outBuffer out = {destination, size, 0};
      const size_t result = ZSTD_decompressStream(zstd_.get(), &out, &in);
      input_.use(in.pos);
      // Frames that need a window above 128 MiB are refused by the library's own limit.
      if (ZSTD_isError(result)) input_.refuse(std::string("zstd data damaged: ") + ZSTD_getErrorName(result));
      at_frame_end_ = result == 0;
      has_more_output_ = !at_frame_end_ && out.pos == out.size;
      if (out.pos > 0) return out.pos;
    }
  }

 private:
  Input input_;
  std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> zstd_;
  bool at_frame_end_ = false;
  bool has_more_output_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> open_stream(const std::filesystem::path& path, const StopToken* stop) {
  if (path == "-") return std::make_unique<PlainStream>(standard_input(stop));
  Descriptor file = open_for_reading(path, ErrorKind::kData, stop);
  const std::string extension = path.extension().string();
  if (extension == ".gz") return std::make_unique<GzipStream>(std::move(file));
  if (extension == ".zst") return std::make_unique<ZstdStream>(std::move(file));
  return std::make_unique<PlainStream>(std::move(file));
}

std::filesystem::path without_compression(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".gz" || extension == ".zst" ? path.stem() : path.filename();
}

}  // namespace precis

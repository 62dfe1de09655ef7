// States in memory or in a file.
#include "memory/states_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"

namespace precis::memory {

namespace {

[[noreturn]] void fail(const char* what, int64_t bytes) {
  throw Error(ErrorKind::kIo, {.what = std::string(what) + ": " + std::strerror(errno),
                               .where = "the file of the encoder's states, at " + format_bytes(bytes),
                               .hint = "free some space, raise encoder.memory_budget, or name a folder with "
                                       "room in encoder.spill"});
}

int unnamed_file(const std::filesystem::path& folder) {
  std::string name = (folder / ".states-XXXXXX").string();
  const int file = mkostemp(name.data(), O_CLOEXEC);
  if (file < 0) {
    throw Error(ErrorKind::kIo,
                {.what = std::string("no file can be made for the encoder's states: ") + std::strerror(errno),
                 .where = folder.string(),
                 .hint = "name a folder that can be written in encoder.spill"});
  }
  unlink(name.c_str());
  return file;
}

}  // namespace

MemorySource MemorySource::of(MemoryBatch memory) {
  MemorySource source{.rows_B = memory.rows_B,
                      .first_row_B = std::vector<int64_t>(memory.rows_B.size()),
                      .max_rows = memory.states_BTM.size(1),
                      .read = {}};
  source.read = [states_BTM = std::move(memory.states_BTM)](int64_t begin, int64_t rows) {
    return states_BTM.narrow(1, begin, rows);
  };
  return source;
}

StatesStore::StatesStore(const DocumentPack& pack, int64_t width, at::ScalarType type, at::Device device,
                         const std::optional<std::filesystem::path>& spill)
    : rows_B_(pack.rows_B), max_rows_(pack.max_rows), width_(width), type_(type), device_(device) {
  if (spill) {
    file_ = unnamed_file(*spill);
  } else {
    states_BTM_ = at::zeros({pack.size(), max_rows_, width_}, at::TensorOptions().dtype(type).device(device));
  }
}

StatesStore::~StatesStore() {
  if (file_ >= 0) close(file_);
}

void StatesStore::put(const at::Tensor& states_RM, const EncoderPack& windows) {
  if (file_ < 0) {
    states_BTM_.flatten(0, 1).index_copy_(0, windows.to_R, states_RM.to(type_));
    return;
  }
  const at::Tensor rows_RM = states_RM.to(at::kCPU, type_).contiguous();
  const int64_t row_bytes = width_ * static_cast<int64_t>(rows_RM.element_size());
  for (const MemorySegment& segment : windows.segments) {
    const char* data = static_cast<const char*>(rows_RM.const_data_ptr()) + segment.first * row_bytes;
    int64_t offset = (segment.document * max_rows_ + segment.memory_row) * row_bytes;
    for (int64_t left = segment.rows * row_bytes; left > 0;) {
      const ssize_t written = pwrite(file_, data, static_cast<size_t>(left), offset);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("cannot write", offset);
      data += written;
      offset += written;
      left -= written;
    }
  }
}

at::Tensor StatesStore::read(int64_t begin, int64_t rows) const {
  if (file_ < 0) return states_BTM_.narrow(1, begin, rows);
  const int64_t B = static_cast<int64_t>(rows_B_.size());
  const at::Tensor states = at::zeros({B, rows, width_}, at::TensorOptions().dtype(type_));
  const int64_t row_bytes = width_ * static_cast<int64_t>(states.element_size());
  for (int64_t b = 0; b < B; ++b) {
    char* data = static_cast<char*>(states.data_ptr()) + b * rows * row_bytes;
    int64_t offset = (b * max_rows_ + begin) * row_bytes;
    for (int64_t left = std::min(rows, rows_B_[b] - begin) * row_bytes; left > 0;) {
      const ssize_t got = pread(file_, data, static_cast<size_t>(left), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got == 0) errno = EIO;  // it holds every row
      if (got <= 0) fail("cannot read", offset);
      data += got;
      offset += got;
      left -= got;
    }
  }
  return states.to(device_);
}

}  // namespace precis::memory

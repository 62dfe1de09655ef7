// MADV_HUGEPAGE, and blocks of whole pages of 2 MiB that weights are cut from.
#include "nn/large_tensor.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

namespace precis::nn {

namespace {

constexpr size_t kPage = size_t{2} << 20;
constexpr size_t kBlock = size_t{32} << 20;
constexpr size_t kLarge = size_t{64} << 10;  // smaller tensors gain nothing
constexpr size_t kAlignment = 64;

constexpr size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Memory of the system's own, not malloc's: nothing has touched its pages yet, so they can still be large
// ones.
class Block {
 public:
  explicit Block(size_t bytes) : bytes_(bytes + kPage) {
    mapped_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped_ == MAP_FAILED) throw std::bad_alloc();
    const size_t start = reinterpret_cast<size_t>(mapped_);
    begin_ = static_cast<std::byte*>(mapped_) + (round_up(start, kPage) - start);
    left_ = bytes;
    madvise(begin_, bytes, MADV_HUGEPAGE);  // a wish
  }
  ~Block() { munmap(mapped_, bytes_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // Null where it has not so much left.
  void* take(size_t bytes) {
    bytes = round_up(bytes, kAlignment);
    if (bytes > left_) return nullptr;
    std::byte* const taken = begin_;
    begin_ += bytes;
    left_ -= bytes;
    return taken;
  }

 private:
  void* mapped_;
  size_t bytes_;
  std::byte* begin_;
  size_t left_;
};

struct Share {
  std::shared_ptr<Block> block;
  void* data;
};

Share take(size_t bytes) {
  static std::mutex mutex;
  static std::weak_ptr<Block> last;  // the tensors own it
  const std::lock_guard lock(mutex);
  std::shared_ptr<Block> block = last.lock();
  void* data = block ? block->take(bytes) : nullptr;
  if (data == nullptr) {
    block = std::make_shared<Block>(round_up(std::max(bytes, kBlock), kPage));
    data = block->take(bytes);
    last = block;
  }
  return {std::move(block), data};
}

}  // namespace

at::Tensor empty_large(at::IntArrayRef sizes, at::ScalarType type) {
  const at::Tensor tensor = at::empty(sizes, type);
  const size_t start = reinterpret_cast<size_t>(tensor.data_ptr());
  const size_t begin = round_up(start, kPage), end = (start + tensor.nbytes()) / kPage * kPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a wish, no more
  return tensor;
}

at::Tensor empty_weight(at::IntArrayRef sizes, at::ScalarType type) {
  std::vector<int64_t> room = sizes.vec();
  if (sizes.size() == 2) room.front() = (sizes.front() + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  const size_t bytes = static_cast<size_t>(c10::multiply_integers(room)) * c10::elementSize(type);
  if (bytes < kLarge) return at::empty(sizes, type);
  Share share = take(bytes);
  const at::Tensor tensor = at::from_blob(
      share.data, room, [block = std::move(share.block)](void*) {}, type);
  return tensor.narrow(0, 0, sizes.front());
}

}  // namespace precis::nn

// MADV_HUGEPAGE on what lies inside whole pages of 2 MiB.
#include "nn/large_tensor.h"

#include <sys/mman.h>

namespace precis::nn {

namespace {

constexpr uintptr_t kPage = uintptr_t{2} << 20;

}  // namespace

at::Tensor empty_large(at::IntArrayRef sizes, at::ScalarType type) {
  const at::Tensor tensor = at::empty(sizes, type);
  const uintptr_t start = reinterpret_cast<uintptr_t>(tensor.data_ptr());
  const uintptr_t begin = (start + kPage - 1) / kPage * kPage,
                  end = (start + tensor.nbytes()) / kPage * kPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a wish, no more
  return tensor;
}

}  // namespace precis::nn

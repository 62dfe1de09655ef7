// How many bytes a process holds through malloc, and the most it held: preloaded (LD_PRELOAD) into a program
// that has no allocator of its own to count with, as benchmarks/peers/cached_peer.py under --held-bytes.
// Counts what malloc_usable_size says. What is mapped directly is not counted. For glibc, whose own functions
// are called by their second names: a look-up by dlsym would allocate.
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>

extern "C" {

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* data, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void* data);

}  // extern "C"

namespace {

std::atomic<long long> live_bytes{0}, peak_bytes{0};

void add(long long bytes) {
  const long long now = live_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  long long peak = peak_bytes.load(std::memory_order_relaxed);
  while (now > peak && !peak_bytes.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

long long size_of(void* data) { return static_cast<long long>(malloc_usable_size(data)); }

void* counted(void* data) {
  if (data != nullptr) add(size_of(data));
  return data;
}

}  // namespace

extern "C" {

long long malloc_counter_live() { return live_bytes.load(); }
long long malloc_counter_peak() { return peak_bytes.load(); }
// From here on the peak is of what comes, what is held now included.
void malloc_counter_reset_peak() { peak_bytes.store(live_bytes.load()); }

void* malloc(size_t bytes) { return counted(__libc_malloc(bytes)); }
void* calloc(size_t count, size_t bytes) { return counted(__libc_calloc(count, bytes)); }
void* memalign(size_t alignment, size_t bytes) { return counted(__libc_memalign(alignment, bytes)); }
void* aligned_alloc(size_t alignment, size_t bytes) { return counted(__libc_memalign(alignment, bytes)); }

int posix_memalign(void** result, size_t alignment, size_t bytes) {
  if (alignment % sizeof(void*) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
  void* const data = counted(__libc_memalign(alignment, bytes));
  if (data == nullptr) return ENOMEM;
  *result = data;
  return 0;
}

// What moves is held twice for a moment; only the growth is counted.
void* realloc(void* data, size_t bytes) {
  const long long before = data == nullptr ? 0 : size_of(data);
  void* const moved = __libc_realloc(data, bytes);
  if (moved != nullptr) {
    add(size_of(moved) - before);
  } else if (bytes == 0) {
    add(-before);
  }
  return moved;
}

void free(void* data) {
  if (data != nullptr) add(-size_of(data));
  __libc_free(data);
}

}  // extern "C"

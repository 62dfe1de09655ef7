// The processor or the GPU that tensors are on: which there is, its memory, waiting for it. What needs CUDA's
// own headers is in device.cpp and dropout_cuda.cu, and compiled where libtorch has CUDA.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

namespace precis::nn {

struct Gpu {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int64_t memory = 0;        // bytes
  int64_t free_memory = 0;   // of all programs together
};
// Those that this program can compute on; none without a libtorch with CUDA, or without a driver. Opens each.
std::vector<Gpu> gpus();

// How many of them there are, without opening any.
int64_t gpu_count();

// "cpu"; "cuda": a GPU, or Error{kUsage} where there is none, which names `where`; "auto": a GPU where there
// is one. Of several the `place`-th, counted round: that of a process among those on its host. The GPU
// becomes the thread's current one.
c10::Device find_device(const std::string& name, int64_t place, const std::string& where);

// Waits until what was begun on the device is done. A CPU has nothing of the kind.
void synchronize(c10::Device device);

// Bytes of the device's memory. On the CPU they are those of the whole process (base/memory_use.h), on a GPU
// those of libtorch's allocator; what the driver itself holds there for a process, some 500 MB, is in none of
// them. What this process has in use; on a GPU in tensors.
int64_t resident_bytes(c10::Device device);
// What else it could have: on a GPU what is free, and what the allocator keeps of tensors that are gone.
int64_t available_bytes(c10::Device device);
// The most that this process has held; on a GPU the most that the allocator has reserved, which is more than
// tensors ever were.
int64_t peak_bytes(c10::Device device);

// While one lives, sums on a GPU are made in one order, run after run, and an operation that has none is an
// error. Of a CPU they are anyway.
class OneOrder {
 public:
  explicit OneOrder(c10::Device device);
  ~OneOrder();
  OneOrder(const OneOrder&) = delete;
  OneOrder& operator=(const OneOrder&) = delete;

 private:
  bool on_gpu_;
};

}  // namespace precis::nn

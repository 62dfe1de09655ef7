// Asking libtorch of its devices.
#include "nn/device.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>

#ifdef PRECIS_CUDA
#include <c10/cuda/CUDAException.h>
#endif

#include <cstdlib>

#include "base/error.h"
#include "base/memory_use.h"

namespace precis::nn {

namespace {

// The name, size and compute capability of GPU `index`.
Gpu properties_of(c10::DeviceIndex index) {
  Gpu gpu;
#ifdef PRECIS_CUDA
  cudaDeviceProp properties = {};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  gpu = {.name = properties.name,
         .major = properties.major,
         .minor = properties.minor,
         .memory = static_cast<int64_t>(properties.totalGlobalMem)};
#endif
  return gpu;
}

void open(c10::Device gpu) {
  // cuBLAS sums in one order with a workspace of its own alone, and reads this when it is first called.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::globalContext().lazyInitDevice(at::kCUDA);
  at::accelerator::setDeviceIndex(gpu.index());
}

int64_t free_bytes(c10::Device gpu) {
  return static_cast<int64_t>(at::getDeviceAllocator(gpu.type())->getMemoryInfo(gpu.index()).first);
}

struct AllocatorUse {
  int64_t allocated, reserved, most_reserved;
};

AllocatorUse use_of(c10::Device gpu) {
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto stats = at::getDeviceAllocator(gpu.type())->getDeviceStats(gpu.index());
  const auto &allocated = stats.allocated_bytes[kAll], &reserved = stats.reserved_bytes[kAll];
  return {allocated.current, reserved.current, reserved.peak};
}

}  // namespace

int64_t gpu_count() { return at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0; }

std::vector<Gpu> gpus() {
  std::vector<Gpu> found;
  for (int64_t i = 0; i < gpu_count(); ++i) {
    const c10::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(i));
    open(device);
    found.push_back(properties_of(device.index()));
    found.back().free_memory = free_bytes(device);
  }
  return found;
}

c10::Device find_device(const std::string& name, int64_t place, const std::string& where) {
  const int64_t count = name == "cpu" ? 0 : gpu_count();
  if (count > 0) {
    const c10::Device gpu(at::kCUDA, static_cast<c10::DeviceIndex>(place % count));
    open(gpu);
    return gpu;
  }
  if (name == "cuda") {
    throw Error(ErrorKind::kUsage,
                {.what = at::detail::getCUDAHooks().isBuilt() ? "there is no GPU that CUDA can compute on"
                                                              : "this libtorch has no CUDA",
                 .where = where,
                 .found = name,
                 .hint = where + " cpu"});
  }
  return at::kCPU;
}

void synchronize(c10::Device device) {
  if (device.is_cuda()) at::detail::getCUDAHooks().deviceSynchronize(device.index());
}

int64_t resident_bytes(c10::Device device) {
  return device.is_cuda() ? use_of(device).allocated : resident_memory_bytes();
}

int64_t peak_bytes(c10::Device device) {
  return device.is_cuda() ? use_of(device).most_reserved : peak_memory_bytes();
}

int64_t available_bytes(c10::Device device) {
  if (!device.is_cuda()) return available_memory_bytes();
  const AllocatorUse use = use_of(device);
  return free_bytes(device) + use.reserved - use.allocated;
}

OneOrder::OneOrder(c10::Device device) : on_gpu_(device.is_cuda()) {
  if (!on_gpu_) return;
  at::globalContext().setDeterministicFillUninitializedMemory(
      false);  // which costs time and finds other mistakes
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
}

OneOrder::~OneOrder() {
  if (on_gpu_) at::globalContext().setDeterministicAlgorithms(false, false);
}

}  // namespace precis::nn

// The most bytes that tensors held at once, by an allocator that counts.
#pragma once

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace precis {

// Counts from reset() on what is allocated above what stood then. One for the program: libtorch keeps it.
class PeakMeter : public c10::Allocator {
 public:
  static PeakMeter& instance() {
    static PeakMeter* const meter = [] {
      auto* made = new PeakMeter();
      c10::SetCPUAllocator(made, 1);
      return made;
    }();
    return *meter;
  }

  void reset() {
    const std::lock_guard lock(mutex_);
    held_ = peak_ = 0;
  }
  int64_t peak() const { return peak_; }
  // From here on peak() is of what comes, what is held now included.
  void restart_peak() {
    const std::lock_guard lock(mutex_);
    peak_ = held_;
  }

  c10::DataPtr allocate(size_t bytes) override {
    void* const data = real_.raw_allocate(bytes);
    const std::lock_guard lock(mutex_);
    sizes_[data] = static_cast<int64_t>(bytes);
    held_ += static_cast<int64_t>(bytes);
    peak_ = std::max(peak_, held_);
    return {data, data, &PeakMeter::free, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &PeakMeter::free; }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }

 private:
  static void free(void* data) {
    if (data == nullptr) return;
    PeakMeter& meter = instance();
    {
      const std::lock_guard lock(meter.mutex_);
      const auto found = meter.sizes_.find(data);
      meter.held_ -= found->second;
      meter.sizes_.erase(found);
    }
    meter.real_.raw_deallocate(data);
  }

  c10::Allocator& real_ = *c10::GetDefaultCPUAllocator();
  std::mutex mutex_;
  std::unordered_map<void*, int64_t> sizes_;
  int64_t held_ = 0, peak_ = 0;
};

}  // namespace precis

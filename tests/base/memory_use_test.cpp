// The kernel's figures: they follow what is touched.
#include "base/memory_use.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace precis {
namespace {

TEST(MemoryUse, ThePeakFollowsWhatIsTouchedAndStays) {
  constexpr int64_t kSize = int64_t{256} << 20;
#ifdef __SANITIZE_ADDRESS__
  constexpr int64_t kShadow = kSize / 8;  // of what is touched
#else
  constexpr int64_t kShadow = 0;
#endif
  const int64_t before = peak_memory_bytes();
  EXPECT_GT(before, int64_t{1} << 20);
  { const std::vector<char> touched(kSize, 1); }
  const int64_t after = peak_memory_bytes();
  EXPECT_GE(after, kSize);
  EXPECT_LE(after, before + kSize + kShadow + (int64_t{16} << 20));
  EXPECT_LE(resident_memory_bytes(), after - kSize / 2) << "the vector is gone";
  EXPECT_GT(resident_memory_bytes(), int64_t{1} << 20);
}

TEST(MemoryUse, WhatIsAvailableIsNoMoreThanThereIs) {
  EXPECT_GT(available_memory_bytes(), 0);
  EXPECT_LE(available_memory_bytes(), int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE));
}

}  // namespace
}  // namespace precis

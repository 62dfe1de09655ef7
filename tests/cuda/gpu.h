// A GPU for tests, which are skipped where there is none.
#pragma once

#include <gtest/gtest.h>

#include "nn/device.h"

namespace precis {

class OnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (nn::gpu_count() == 0) GTEST_SKIP() << "no GPU that CUDA can compute on";
    gpu = nn::find_device("cuda", 0, "test");
  }

  c10::Device gpu = c10::kCPU;
};

}  // namespace precis

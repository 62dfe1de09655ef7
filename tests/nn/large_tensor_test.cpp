// Weights that share blocks of memory neither overlap nor outlive it.
#include "nn/large_tensor.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "base/memory_use.h"

namespace precis::nn {
namespace {

TEST(Weights, KeepWhatIsWrittenToOneFromTheOthers) {
  std::vector<at::Tensor> tensors;
  const std::vector<int64_t> sizes = {0,         1,       1 << 14, (1 << 14) + 3, 1 << 20, 7'000'001,
                                      9'000'000, 1 << 16, 33};
  for (size_t i = 0; i < 4 * sizes.size(); ++i) {
    tensors.push_back(empty_weight({sizes[i % sizes.size()]}, i % 2 == 0 ? at::kFloat : at::kBFloat16));
    tensors.back().fill_(static_cast<double>(i));
    if (i % 3 == 2) tensors[i - 1] = at::Tensor();  // its block lives on with the others
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined()) continue;
    EXPECT_EQ(tensors[i].numel(), sizes[i % sizes.size()]);
    EXPECT_TRUE(at::all(tensors[i] == static_cast<double>(i)).item<bool>()) << i;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensors[i].data_ptr()) % 16, 0U);
  }
}

TEST(Weights, HaveRoomForWholePanels) {
  const at::Tensor weight = empty_weight({1009, 100}, at::kFloat);
  EXPECT_EQ(weight.storage().nbytes(), size_t{1024 * 100 * 4});
  EXPECT_TRUE(weight.is_contiguous());
}

TEST(Weights, AreMadeInManyThreads) {
  std::vector<at::Tensor> tensors(8);
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < tensors.size(); ++i) {
      threads.emplace_back([&tensors, i] {
        for (int round = 0; round < 50; ++round) {
          tensors[i] = empty_weight({3, 100'000}, at::kFloat);
          tensors[i].fill_(static_cast<double>(i));
        }
      });
    }
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE(at::all(tensors[i] == static_cast<double>(i)).item<bool>()) << i;
  }
}

TEST(Weights, GiveTheirMemoryBack) {
  const int64_t before = resident_memory_bytes();
  for (int round = 0; round < 200; ++round) empty_weight({1 << 20}, at::kFloat).fill_(1.0);  // 800 MB in turn
  EXPECT_LT(resident_memory_bytes() - before, 100'000'000);
}

}  // namespace
}  // namespace precis::nn

// Dropout, sums over ranks, memory and its end, on a GPU.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <torch/csrc/autograd/autograd.h>

#include "base/error.h"
#include "cuda/gpu.h"
#include "nn/dropout.h"
#include "nn/rank_sum.h"
#include "nn/token_loss.h"
#include "parallel/thread_ranks.h"

namespace precis::nn {
namespace {

class CudaDropout : public OnGpu {};
class CudaDevice : public OnGpu {};
class CudaRankSum : public OnGpu {};
class CudaTokenLoss : public OnGpu {};

TEST_F(CudaDropout, MasksAreTheCpusBitForBit) {
  std::vector<uint64_t> many;  // more rows than one launch takes
  for (uint64_t row = 0; row < 200; ++row) many.push_back(row * 0x9E3779B97F4A7C15ull);
  struct Case {
    std::vector<int64_t> sizes;
    std::vector<uint64_t> rows;
    int64_t first_column;
  };
  const std::vector<Case> cases = {
      {{2, 3, 20, 40}, {11, 22}, 0},    {{1, 1, 1, 1}, {UINT64_MAX}, 0},       {{200, 2, 3, 33}, many, 5},
      {{2, 16, 129, 1024}, {1, 2}, 77}, {{1, 2, 5, 7}, {3}, int64_t{1} << 33}, {{2, 4, 0, 9}, {1, 2}, 0}};
  for (const Case& c : cases) {
    for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
      for (const double p : {0.1, 0.5, 0.999}) {
        const auto factors = [&](at::Device device) {
          return dropout_factors(c.sizes, p, c.rows, 9, c.first_column,
                                 at::TensorOptions().dtype(type).device(device));
        };
        const at::Tensor on_gpu = factors(gpu);
        EXPECT_EQ(on_gpu.device(), gpu);
        EXPECT_TRUE(at::equal(on_gpu.cpu(), factors(at::kCPU)));
      }
    }
  }
}

TEST_F(CudaDropout, BackwardDrawsTheSameMask) {
  const at::Tensor x = at::randn({2, 5, 70}, at::TensorOptions().dtype(at::kDouble).device(gpu));
  const at::Tensor leaf = x.clone().requires_grad_(true);
  const at::Tensor y = dropout(leaf, 0.4, {11, 22}, 3);
  EXPECT_TRUE(at::equal(y.detach().cpu(), dropout(x.cpu(), 0.4, {11, 22}, 3)));
  const at::Tensor gradient = torch::autograd::grad({y}, {leaf}, {at::ones_like(x)})[0];
  EXPECT_TRUE(at::equal(gradient.eq(0), y.detach().eq(0)));
}

TEST_F(CudaDevice, MemoryIsThatOfTheAllocator) {
  constexpr int64_t kBytes = int64_t{1} << 28;
  const int64_t before = resident_bytes(gpu), free = available_bytes(gpu);
  EXPECT_GT(free, kBytes);
  {
    const at::Tensor x = at::empty({kBytes}, at::TensorOptions().dtype(at::kByte).device(gpu));
    EXPECT_GE(resident_bytes(gpu), before + kBytes);
    EXPECT_LE(available_bytes(gpu), free - kBytes + (int64_t{64} << 20));  // other programs may come and go
  }
  EXPECT_EQ(resident_bytes(gpu), before);
  EXPECT_GE(peak_bytes(gpu), before + kBytes);
}

TEST_F(CudaDevice, MemoryThatIsUsedUpIsAnErrorOfItsOwn) {
  try {
    at::empty({int64_t{1} << 45}, at::TensorOptions().dtype(at::kByte).device(gpu));
    FAIL();
  } catch (const std::exception& error) {
    EXPECT_EQ(kind_of(error), ErrorKind::kOutOfMemory) << error.what();
    EXPECT_THAT(as_error(error).what(), ::testing::HasSubstr("GPU memory"));
  }
  const at::Tensor x = at::ones({4}, at::TensorOptions().device(gpu));
  EXPECT_EQ(x.sum().item<float>(), 4) << "the GPU goes on";
}

TEST_F(CudaDevice, HasAName) {
  const std::vector<Gpu> all = gpus();
  ASSERT_EQ(static_cast<int64_t>(all.size()), gpu_count());
  EXPECT_FALSE(all.front().name.empty());
  EXPECT_GT(all.front().memory, int64_t{1} << 30);
  EXPECT_LE(all.front().free_memory, all.front().memory);
  EXPECT_GE(all.front().major, 5);
  EXPECT_EQ(find_device("auto", gpu_count(), "test").index(), 0) << "counted round";
  EXPECT_TRUE(find_device("cpu", 0, "test").is_cpu());
}

TEST_F(CudaRankSum, OfTensorsOnAGpu) {
  parallel::on_ranks(3, [&](parallel::Communicator& ranks) {
    for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
      const auto options = at::TensorOptions().dtype(type).device(gpu);
      const double own = ranks.rank() + 1;
      const at::Tensor x = at::full({3, 4}, own, options).t();  // not contiguous
      sum_over(ranks, x);
      EXPECT_TRUE(at::equal(x.cpu(), at::full({4, 3}, 6, type)));
      const at::Tensor y = at::full({5}, own, options);
      maximum_over(ranks, y);
      EXPECT_TRUE(at::equal(y.cpu(), at::full({5}, 3, type)));
    }
  });
}

TEST_F(CudaTokenLoss, IsTheCpus) {
  at::Generator generator = at::detail::createCPUGenerator(4);
  const auto random = [&](at::IntArrayRef sizes) { return at::randn(sizes, generator, at::kDouble); };
  const at::Tensor hidden = random({700, 12}), weight = random({30, 12}), bias = random({30});
  const at::Tensor labels = at::randint(0, 30, {700}, generator, at::kLong);
  const auto gradients = [&](at::Device device) {
    const at::Tensor h = hidden.to(device).detach().clone().requires_grad_(true);
    const at::Tensor w = weight.to(device).detach().clone().requires_grad_(true);
    const TokenLoss loss = token_loss(h, w, bias.to(device), labels.to(device), 0.1);
    std::vector<at::Tensor> found = torch::autograd::grad({loss.objective}, {h, w});
    found.push_back(loss.nll_N);
    for (at::Tensor& tensor : found) tensor = tensor.cpu();
    return found;
  };
  const std::vector<at::Tensor> got = gradients(gpu), want = gradients(at::kCPU);
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_LT((got[i] - want[i]).abs().max().item<double>(), 1e-12) << i;
  }
}

}  // namespace
}  // namespace precis::nn

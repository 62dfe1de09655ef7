// Dropout by counter: rate, independence, and that a mask knows nothing of batch, padding or block.
#include "nn/dropout.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

namespace precis::nn {

namespace {

const std::vector<uint64_t> kRows = {11, 22};

at::Tensor mask(at::IntArrayRef sizes, double p, const std::vector<uint64_t>& rows, uint64_t site,
                int64_t first_column = 0) {
  return dropout_factors(sizes, p, rows, site, first_column, at::TensorOptions().dtype(at::kDouble));
}

// Correlation of two masks: 0 within 5 standard deviations of n independent pairs, 5 / sqrt(n).
double correlation(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.flatten() - a.mean(), y = b.flatten() - b.mean();
  return (x.mul(y).mean() / (x.square().mean() * y.square().mean()).sqrt()).item<double>();
}

}  // namespace

TEST(Dropout, KeepsTheRateAndTheMean) {
  for (const double p : {0.1, 0.5, 0.9}) {
    const at::Tensor factors = mask({2, 4, 300, 200}, p, kRows, 5);
    const double n = static_cast<double>(factors.numel());
    EXPECT_NEAR(factors.eq(0).to(at::kDouble).mean().item<double>(), p, 5 * std::sqrt(p * (1 - p) / n));
    EXPECT_NEAR(factors.max().item<double>(), 1 / (1 - p), 1e-15);
  }
}

TEST(Dropout, NeighboursAndKeysAreIndependent) {
  const at::Tensor whole = mask({2, 4, 301, 201}, 0.5, kRows, 5);
  const double bound = 5 / std::sqrt(4 * 300.0 * 200.0);
  const at::Tensor row = whole[0];
  EXPECT_LT(std::abs(correlation(row.narrow(2, 0, 200), row.narrow(2, 1, 200))), bound) << "columns";
  EXPECT_LT(std::abs(correlation(row.narrow(1, 0, 300), row.narrow(1, 1, 300))), bound) << "lines";
  EXPECT_LT(std::abs(correlation(row.narrow(0, 0, 2), row.narrow(0, 2, 2))), std::sqrt(2.0) * bound)
      << "heads";
  EXPECT_LT(std::abs(correlation(whole[0], whole[1])), bound) << "rows";
  EXPECT_LT(std::abs(correlation(row, mask({2, 4, 301, 201}, 0.5, kRows, 6)[0])), bound) << "sites";
  EXPECT_LT(std::abs(correlation(row, mask({2, 4, 301, 201}, 0.5, {12, 22}, 5)[0])), bound)
      << "keys that differ by 1";
  EXPECT_NE(dropout_site(1, 2), dropout_site(2, 1));
}

TEST(Dropout, MaskOfAnElementIgnoresBatchPaddingAndBlock) {
  const at::Tensor whole = mask({2, 3, 20, 40}, 0.3, kRows, 9);
  EXPECT_TRUE(at::equal(mask({2, 3, 20, 40}, 0.3, kRows, 9), whole)) << "again";
  EXPECT_TRUE(at::equal(mask({1, 3, 20, 40}, 0.3, {kRows[1]}, 9)[0], whole[1])) << "alone in the batch";
  EXPECT_TRUE(at::equal(mask({2, 3, 7, 11}, 0.3, kRows, 9), whole.narrow(2, 0, 7).narrow(3, 0, 11)))
      << "less padding";
  EXPECT_TRUE(at::equal(mask({2, 3, 20, 15}, 0.3, kRows, 9, 25), whole.narrow(3, 25, 15)))
      << "a block of columns";
  const at::Tensor single =
      dropout_factors({2, 3, 20, 40}, 0.3, kRows, 9, 0, at::TensorOptions().dtype(at::kFloat));
  EXPECT_TRUE(at::equal(single.eq(0), whole.eq(0))) << "float32";
}

TEST(Dropout, MaskIsTheSameForAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = mask({2, 4, 100, 333}, 0.1, kRows, 1);
  at::set_num_threads(3);
  const at::Tensor three = mask({2, 4, 100, 333}, 0.1, kRows, 1);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one, three));
}

TEST(Dropout, BackwardDrawsTheSameMask) {
  const std::vector<std::vector<int64_t>> shapes = {{2, 7}, {2, 5, 7}, {2, 3, 5, 7}};
  for (const std::vector<int64_t>& sizes : shapes) {
    const at::Tensor x = at::randn(sizes, at::kDouble).requires_grad_(true);
    const at::Tensor y = dropout(x, 0.4, kRows, 3);
    std::vector<int64_t> full = sizes;
    while (full.size() < 4) full.insert(full.begin() + 1, 1);
    const at::Tensor factors = mask(full, 0.4, kRows, 3).view(sizes);
    EXPECT_TRUE(at::equal(y, x * factors));
    const at::Tensor upstream = at::randn(sizes, at::kDouble);
    const at::Tensor gradient = torch::autograd::grad({y}, {x}, {upstream})[0];
    EXPECT_TRUE(at::equal(gradient, upstream * factors));
  }
}

TEST(Dropout, SixteenBitKeepsItsType) {
  const at::Tensor x = at::ones({2, 8, 64}, at::kBFloat16);
  const at::Tensor y = dropout(x, 0.5, kRows, 3);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(y.to(at::kDouble), mask({2, 1, 8, 64}, 0.5, kRows, 3).view({2, 8, 64})));
}

TEST(Dropout, NothingWithoutRowsOrRate) {
  const at::Tensor x = at::randn({2, 3, 4});
  EXPECT_TRUE(dropout(x, 0.5, {}, 3).is_same(x));
  EXPECT_TRUE(dropout(x, 0.0, kRows, 3).is_same(x));
}

}  // namespace precis::nn

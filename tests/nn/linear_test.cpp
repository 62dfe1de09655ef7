// Products in bfloat16 with float32 weights, beside the same in float64.
#include "nn/linear.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace precis::nn {
namespace {

double relative(const at::Tensor& found, const at::Tensor& wanted) {
  return ((found.to(at::kDouble) - wanted).norm() / wanted.norm()).item<double>();
}

TEST(Linear, MultipliesInTheTypeOfWhatComesAndKeepsTheWeightsOwn) {
  at::manual_seed(2);
  const at::Tensor x64 = at::randn({2, 5, 40}, at::kDouble), weight64 = at::randn({30, 40}, at::kDouble),
                   bias64 = at::randn({30}, at::kDouble), gradient64 = at::randn({2, 5, 30}, at::kDouble);
  const auto leaf = [](const at::Tensor& value, at::ScalarType type) {
    return value.to(type, false, true).requires_grad_(true);
  };
  const at::Tensor x = leaf(x64, at::kDouble), weight = leaf(weight64, at::kDouble),
                   bias = leaf(bias64, at::kDouble);
  linear(x, weight, bias).backward(gradient64);
  const at::Tensor x16 = leaf(x64, at::kBFloat16), weight32 = leaf(weight64, at::kFloat),
                   bias32 = leaf(bias64, at::kFloat);
  const at::Tensor y16 = linear(x16, weight32, bias32);
  EXPECT_EQ(y16.scalar_type(), at::kBFloat16);
  EXPECT_LT(relative(y16, at::linear(x64, weight64, bias64)), 0x1p-7);
  y16.backward(gradient64.to(at::kBFloat16));
  EXPECT_EQ(weight32.grad().scalar_type(), at::kFloat);
  EXPECT_EQ(bias32.grad().scalar_type(), at::kFloat);
  EXPECT_EQ(x16.grad().scalar_type(), at::kBFloat16);
  EXPECT_LT(relative(x16.grad(), x.grad()), 0x1p-7);
  EXPECT_LT(relative(weight32.grad(), weight.grad()), 0x1p-7);
  EXPECT_LT(relative(bias32.grad(), bias.grad()), 0x1p-7);
}

TEST(Linear, AddsUpGradientsInTheWeightsType) {
  // 512 times the same small gradient: bfloat16 would stop growing at 256 times it.
  const at::Tensor weight = at::zeros({1, 1}).requires_grad_(true);
  const at::Tensor x = at::ones({1, 1}, at::kBFloat16);
  for (int i = 0; i < 512; ++i) linear(x, weight, at::Tensor()).sum().backward();
  EXPECT_EQ(weight.grad().item<float>(), 512.0F);
}

}  // namespace
}  // namespace precis::nn

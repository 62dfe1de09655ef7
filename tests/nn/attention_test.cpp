// Self-attention against its definition, in float64: masks, dropout, gradients; and the activation table.
#include "nn/attention.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>

#include "nn/activation.h"

namespace precis::nn {

namespace {

constexpr int64_t kBatch = 3, kHeads = 2, kPositions = 9, kWidth = 8;
constexpr uint64_t kSite = 17;

struct Inputs {
  at::Tensor query, key, value;
};

at::Tensor normal(uint64_t seed, int64_t positions = kPositions) {
  return at::randn({kBatch, kHeads, positions, kWidth}, at::detail::createCPUGenerator(seed), at::kDouble)
      .requires_grad_(true);
}

Inputs inputs() { return {normal(1), normal(2), normal(3)}; }

// Written out head by head and row by row, with nothing of the library's attention.
at::Tensor definition(const Inputs& in, const std::vector<int64_t>& lengths, bool causal,
                      const at::Tensor& factors) {
  std::vector<at::Tensor> outputs;
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int64_t h = 0; h < kHeads; ++h) {
      for (int64_t m = 0; m < in.query.size(2); ++m) {
        const int64_t keys = causal ? m + 1 : lengths[b];
        const at::Tensor scores = at::mv(in.key[b][h].narrow(0, 0, keys), in.query[b][h][m]) /
                                  std::sqrt(static_cast<double>(kWidth));
        at::Tensor weights = scores.exp() / scores.exp().sum();
        if (factors.defined()) weights = weights * factors[b][h][m].narrow(0, 0, keys);
        outputs.push_back(at::mv(in.value[b][h].narrow(0, 0, keys).t(), weights));
      }
    }
  }
  return at::stack(outputs).view(in.query.sizes());
}

void expect_equal(const Inputs& in, const at::Tensor& actual, const at::Tensor& expected) {
  // Sums of at most 9 products of size 1.
  EXPECT_LT((actual - expected).abs().max().item<double>(), 1e-13);
  const at::Tensor upstream = at::randn(actual.sizes(), at::detail::createCPUGenerator(4), at::kDouble);
  const auto gradients = torch::autograd::grad({actual}, {in.query, in.key, in.value}, {upstream});
  const auto right = torch::autograd::grad({expected}, {in.query, in.key, in.value}, {upstream});
  for (int i = 0; i < 3; ++i) EXPECT_LT((gradients[i] - right[i]).abs().max().item<double>(), 1e-13) << i;
}

Dropout dropping(double p) {
  Dropout dropout;
  dropout.attention = p;
  dropout.rows = {5, 6, 7};
  return dropout;
}

}  // namespace

TEST(Attention, EqualsTheDefinition) {
  const std::vector<int64_t> full(kBatch, kPositions), ragged = {9, 1, 4};
  for (const double p : {0.0, 0.3}) {
    const Dropout dropout = dropping(p);
    const at::Tensor factors = p == 0 ? at::Tensor()
                                      : dropout_factors({kBatch, kHeads, kPositions, kPositions}, p,
                                                        dropout.rows, kSite, 0, at::kDouble);
    const Inputs in = inputs();
    for (const auto& lengths : {full, ragged}) {
      const AttentionMask mask{.keys_B11K = key_mask(lengths, kPositions, at::kCPU)};
      expect_equal(in, attention(in.query, in.key, in.value, mask, dropout, kSite),
                   definition(in, lengths, false, factors));
    }
    expect_equal(in, attention(in.query, in.key, in.value, {.causal = true}, dropout, kSite),
                 definition(in, full, true, factors));
  }
}

TEST(Attention, KeyMaskIsUndefinedWhereNothingIsPadded) {
  EXPECT_FALSE(key_mask({4, 4}, 4, at::kCPU).defined());
  const at::Tensor mask = key_mask({1, 3}, 3, at::kCPU);
  EXPECT_TRUE(at::equal(mask.view({2, 3}), at::tensor({1, 0, 0, 1, 1, 1}).view({2, 3}).to(at::kBool)));
}

TEST(Attention, HeadsAreSplitAndJoined) {
  const at::Tensor x = at::randn({2, 5, 12});
  const at::Tensor split = split_heads(x, 3);
  EXPECT_TRUE(at::equal(split[1][2][4], x[1][4].narrow(0, 8, 4)));
  EXPECT_TRUE(at::equal(join_heads(split), x));
}

// Values written by transformers 5.23 (activations.py, ACT2FN) at x = -1.3 and 0.8 in float64.
TEST(Activation, ValuesOfTransformers) {
  const std::pair<const char*, std::pair<double, double>> kValues[] = {
      {"gelu", {-0.1258406299612934, 0.6305156811332827}},
      {"gelu_10", {-0.1258406299612934, 0.6305156811332827}},
      {"gelu_accurate", {-0.1260709876826906, 0.6304316914364482}},
      {"gelu_fast", {-0.12607098768360284, 0.6304316914358181}},
      {"gelu_new", {-0.1260709876826906, 0.6304316914364482}},
      {"gelu_python", {-0.12584062996129347, 0.6305156811332827}},
      {"gelu_python_tanh", {-0.1260709876826906, 0.6304316914364482}},
      {"gelu_pytorch_tanh", {-0.1260709876826906, 0.6304316914364482}},
      {"hardswish", {-0.36833333333333335, 0.5066666666666667}},
      {"laplace", {5.595524044110789e-13, 0.6290343444245944}},
      {"leaky_relu", {-0.013000000000000001, 0.8}},
      {"linear", {-1.3, 0.8}},
      {"mish", {-0.3073824647494959, 0.659699757427687}},
      {"quick_gelu", {-0.1282121066168159, 0.6368156932677986}},
      {"relu", {0.0, 0.8}},
      {"relu2", {0.0, 0.6400000000000001}},
      {"relu6", {0.0, 0.8}},
      {"sigmoid", {0.2141650169574414, 0.6899744811276125}},
      {"silu", {-0.2784145220446738, 0.55197958490209}},
      {"sqrtsoftplus", {0.49092611850765505, 1.0821740460516405}},
      {"swish", {-0.2784145220446738, 0.55197958490209}},
      {"tanh", {-0.8617231593133063, 0.664036770267849}},
  };
  std::vector<std::string> names;
  for (const auto& [name, expected] : kValues) {
    names.emplace_back(name);
    const Activation function = find_activation(name);
    ASSERT_NE(function, nullptr) << name;
    const at::Tensor y = function(at::tensor({-1.3, 0.8}, at::kDouble));
    // gelu_fast's constant is cut to ten digits in the original.
    EXPECT_NEAR(y[0].item<double>(), expected.first, 1e-11) << name;
    EXPECT_NEAR(y[1].item<double>(), expected.second, 1e-11) << name;
  }
  EXPECT_EQ(activation_names(), names);
  EXPECT_EQ(find_activation("gelu_typo"), nullptr);
}

}  // namespace precis::nn

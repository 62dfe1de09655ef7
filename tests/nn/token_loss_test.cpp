// The piecewise token loss against the library's cross-entropy: value and gradients.
#include "nn/token_loss.h"

#include <ATen/TensorIndexing.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace precis::nn {

namespace {

// Sums of a few thousand terms of size 1 in float64: 1e-12 is 4,500 roundings.
constexpr double kTolerance = 1e-12;

struct Case {
  at::Tensor hidden_ND, weight_VD, bias_V, labels_N;
};

// More tokens than two pieces of 512, the last one short.
Case make_case(int64_t tokens, at::ScalarType type = at::kDouble) {
  constexpr int64_t kWidth = 12, kVocabulary = 37;
  at::Generator generator = at::detail::createCPUGenerator(5);
  const auto normal = [&](at::IntArrayRef sizes) {
    return at::randn(sizes, generator, at::kDouble).to(type);
  };
  Case result{normal({tokens, kWidth}), normal({kVocabulary, kWidth}), normal({kVocabulary}),
              at::randint(kVocabulary, {tokens}, generator, at::kLong)};
  result.hidden_ND.requires_grad_(true);
  result.weight_VD.requires_grad_(true);
  return result;
}

at::Tensor plain(const Case& c, double smoothing, bool with_bias = true) {
  at::Tensor logits = at::linear(c.hidden_ND, c.weight_VD);
  if (with_bias) logits = logits + c.bias_V;
  return at::cross_entropy_loss(logits, c.labels_N, {}, at::Reduction::Sum, -100, smoothing);
}

double largest(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

}  // namespace

TEST(TokenLoss, EqualsTheLibrarysCrossEntropy) {
  for (const double smoothing : {0.0, 0.1, 0.7}) {
    for (const int64_t tokens : {1, 512, 1100}) {
      const Case c = make_case(tokens);
      const TokenLoss loss = token_loss(c.hidden_ND, c.weight_VD, c.bias_V, c.labels_N, smoothing);
      const at::Tensor expected = plain(c, smoothing);
      EXPECT_NEAR(loss.objective.item<double>() / expected.item<double>(), 1, kTolerance);
      const auto gradients = torch::autograd::grad({loss.objective.mul(0.25)}, {c.hidden_ND, c.weight_VD});
      const auto right = torch::autograd::grad({expected.mul(0.25)}, {c.hidden_ND, c.weight_VD});
      EXPECT_LT(largest(gradients[0], right[0]), kTolerance) << smoothing << " " << tokens;
      EXPECT_LT(largest(gradients[1], right[1]), kTolerance * static_cast<double>(tokens))
          << smoothing << " " << tokens;
      EXPECT_LT(largest(loss.nll_N, at::cross_entropy_loss(at::linear(c.hidden_ND, c.weight_VD) + c.bias_V,
                                                           c.labels_N, {}, at::Reduction::None)),
                kTolerance);
    }
  }
}

TEST(TokenLoss, TakesNoBias) {
  const Case c = make_case(40);
  const TokenLoss loss = token_loss(c.hidden_ND, c.weight_VD, at::Tensor(), c.labels_N, 0.1);
  EXPECT_NEAR(loss.objective.item<double>() / plain(c, 0.1, false).item<double>(), 1, kTolerance);
}

TEST(TokenLoss, GradientIsTheSlope) {
  const Case c = make_case(30);
  const auto objective = [&](const at::Tensor& hidden, const at::Tensor& weight) {
    return token_loss(hidden, weight, c.bias_V, c.labels_N, 0.2).objective.item<double>();
  };
  const at::Tensor loss = token_loss(c.hidden_ND, c.weight_VD, c.bias_V, c.labels_N, 0.2).objective;
  const auto gradients = torch::autograd::grad({loss}, {c.hidden_ND, c.weight_VD});
  at::Generator generator = at::detail::createCPUGenerator(6);
  const at::Tensor along_hidden = at::randn(c.hidden_ND.sizes(), generator, at::kDouble);
  const at::Tensor along_weight = at::randn(c.weight_VD.sizes(), generator, at::kDouble);
  constexpr double kStep = 1e-5;  // the error of a central difference is of order step^2 = 1e-10
  const double slope = (objective(c.hidden_ND + kStep * along_hidden, c.weight_VD + kStep * along_weight) -
                        objective(c.hidden_ND - kStep * along_hidden, c.weight_VD - kStep * along_weight)) /
                       (2 * kStep);
  const double expected =
      ((gradients[0] * along_hidden).sum() + (gradients[1] * along_weight).sum()).item<double>();
  EXPECT_NEAR(slope / expected, 1, 1e-6);
}

TEST(TokenLoss, OneFrozenInputLeavesTheOthersGradient) {
  const Case c = make_case(20);
  const at::Tensor loss = token_loss(c.hidden_ND, c.weight_VD.detach(), c.bias_V, c.labels_N, 0).objective;
  EXPECT_LT(largest(torch::autograd::grad({loss}, {c.hidden_ND})[0],
                    torch::autograd::grad({plain(c, 0)}, {c.hidden_ND})[0]),
            kTolerance);
}

TEST(TokenLoss, WithoutGradModeOnlyTheValue) {
  const Case c = make_case(20);
  const at::NoGradGuard no_grad;
  const TokenLoss loss = token_loss(c.hidden_ND, c.weight_VD, c.bias_V, c.labels_N, 0.1);
  EXPECT_FALSE(loss.objective.requires_grad());
  EXPECT_FALSE(loss.nll_N.requires_grad());
  EXPECT_NEAR(loss.objective.item<double>() / plain(c, 0.1).item<double>(), 1, kTolerance);
}

TEST(TokenLoss, SixteenBitIsRaisedBeforeTheSoftmax) {
  const Case c = make_case(700, at::kBFloat16);
  const TokenLoss loss = token_loss(c.hidden_ND, c.weight_VD, c.bias_V, c.labels_N, 0.1);
  EXPECT_EQ(loss.nll_N.scalar_type(), at::kFloat);
  // The same from the rounded logits on, so that only the summation differs.
  const at::Tensor logits = at::linear(c.hidden_ND, c.weight_VD).to(at::kFloat) + c.bias_V.to(at::kFloat);
  const at::Tensor nll = at::cross_entropy_loss(logits, c.labels_N, {}, at::Reduction::None);
  EXPECT_LT(largest(loss.nll_N, nll), 1e-5);
  const auto gradients = torch::autograd::grad({loss.objective}, {c.hidden_ND, c.weight_VD});
  Case raised = c;
  raised.hidden_ND = c.hidden_ND.detach().to(at::kDouble).requires_grad_(true);
  raised.weight_VD = c.weight_VD.detach().to(at::kDouble).requires_grad_(true);
  raised.bias_V = c.bias_V.to(at::kDouble);
  const auto right = torch::autograd::grad({plain(raised, 0.1)}, {raised.hidden_ND, raised.weight_VD});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(gradients[i].scalar_type(), at::kBFloat16);
    // bfloat16 keeps 8 bits, 0.4 % of an element; the logits' own rounding adds as much again.
    EXPECT_LT(largest(gradients[i], right[i]), 0.02 * right[i].abs().max().item<double>());
  }
}

}  // namespace precis::nn

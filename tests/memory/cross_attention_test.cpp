// Held, streamed and absorbed cross-attention equal attention from its definition, values and gradients.
#include "memory/cross_attention.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "memory/absorbed_attention.h"
#include "memory/streamed_attention.h"
#include "nn/linear.h"

namespace precis::memory {
namespace {

struct Case {
  at::Tensor query, states, key, key_bias, value, value_bias, weight;
  std::vector<int64_t> rows;

  std::vector<at::Tensor> leaves() const { return {query, states, key, key_bias, value, value_bias}; }
  nn::CrossProjection projection() const { return {key, key_bias, value, value_bias, 3}; }
};

Case make_case(at::ScalarType type) {
  at::Generator generator = at::detail::createCPUGenerator(1);
  const auto random = [&](at::IntArrayRef shape) {
    return at::randn(shape, generator, at::kDouble).to(type);
  };
  Case made{random({2, 5, 12}), random({2, 23, 10}), random({12, 10}),   random({12}),
            random({12, 10}),   random({12}),        random({2, 5, 12}), {23, 9}};
  for (const at::Tensor& leaf : made.leaves()) leaf.requires_grad_(true);
  return made;
}

MemorySource source_of(const Case& c) { return MemorySource::of({c.states.detach(), c.rows}); }

// Keys and values are made in the inputs' own type, all else in `type`.
at::Tensor plain(const Case& c, at::ScalarType type) {
  const auto project = [&](const at::Tensor& weight, const at::Tensor& bias) {
    return nn::linear(c.states, weight, bias).to(type);
  };
  const auto heads = [](const at::Tensor& x) { return x.view({x.size(0), x.size(1), 3, 4}).transpose(1, 2); };
  at::Tensor scores = heads(c.query.to(type)).matmul(heads(project(c.key, c.key_bias)).transpose(2, 3)) / 2.0;
  const at::Tensor lengths = at::tensor(c.rows).view({2, 1, 1, 1});
  scores = scores.masked_fill(at::arange(23).view({1, 1, 1, 23}).ge(lengths), -1e30);
  return scores.softmax(-1).matmul(heads(project(c.value, c.value_bias))).transpose(1, 2).reshape({2, 5, 12});
}

at::Tensor plain(const Case& c) { return plain(c, c.query.scalar_type()); }

std::vector<at::Tensor> gradients(const at::Tensor& output, const Case& c) {
  return torch::autograd::grad({(output * c.weight).sum()}, c.leaves());
}

void expect_near(const std::vector<at::Tensor>& got, const std::vector<at::Tensor>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_LT((got[i] - want[i]).abs().max().item<double>(), 1e-12) << i;
}

TEST(CrossAttention, HeldEqualsTheDefinition) {
  const Case c = make_case(at::kDouble);
  const at::Tensor want = plain(c);
  HeldCrossAttention held({c.states, c.rows});
  const at::Tensor got = held.attend(0, c.query, c.projection(), {});
  EXPECT_LT((got - want).abs().max().item<double>(), 1e-13);
  expect_near(gradients(got, c), gradients(want, c));
}

TEST(CrossAttention, StreamedInBlocksEqualsTheDefinition) {
  const Case c = make_case(at::kDouble);
  const at::Tensor want = plain(c);
  const std::vector<at::Tensor> want_gradients = gradients(want, c);
  for (const int64_t block : {0, 1, 4, 9, 22, 23, 100}) {
    for (const CrossMode mode : {CrossMode::kHeld, CrossMode::kStreamed}) {
      const auto tape = std::make_shared<CrossTape>(mode, at::ones_like(c.states));  // added to
      StreamedCrossAttention streamed(source_of(c), tape, block);
      const at::Tensor got = streamed.attend(0, c.query, c.projection(), {});
      EXPECT_LT((got - want).abs().max().item<double>(), 1e-13);
      std::vector<at::Tensor> got_gradients{torch::autograd::grad({(got * c.weight).sum()}, {c.query})[0],
                                            tape->sum_BTM - 1};
      for (const at::Tensor& parameter : {c.key, c.key_bias, c.value, c.value_bias}) {
        got_gradients.push_back(parameter.grad());
        at::Tensor(parameter).mutable_grad() = at::Tensor();
      }
      expect_near(got_gradients, want_gradients);
    }
  }
}

TEST(CrossAttention, FirstSweepGivesTheQuerysGradientAndRecordsTheLayer) {
  const Case c = make_case(at::kDouble);
  const std::vector<at::Tensor> want = gradients(plain(c), c);
  const auto tape = std::make_shared<CrossTape>(CrossMode::kTwoSweep, at::Tensor());
  const at::Tensor got = streamed_attention(source_of(c), c.query, c.projection(), {}, 0, 4, tape);
  expect_near(torch::autograd::grad({(got * c.weight).sum()}, {c.query}), {want[0]});
  EXPECT_EQ(tape->layers.size(), 1);
  EXPECT_FALSE(c.key.grad().defined());
}

TEST(CrossAttention, AbsorbedEqualsTheDefinition) {
  const Case c = make_case(at::kDouble);
  const at::NoGradGuard no_grad;
  const at::Tensor want = plain(c);
  DecodingCrossAttention attention({c.states, c.rows}, 1);
  for (const int64_t layer : {0, 1}) {  // held, absorbed
    const at::Tensor got = attention.attend(layer, c.query, c.projection(), {});
    EXPECT_LT((got - want).abs().max().item<double>(), 1e-13);
  }
  // Over many blocks: 5,000 rows, of which the second document has few.
  Case longer = c;
  longer.states = c.states.repeat({1, 218, 1}).narrow(1, 0, 5000);
  longer.rows = {5000, 9};
  const at::Tensor streamed = streamed_attention(source_of(longer), c.query, c.projection(), {}, 0, 5000);
  const at::Tensor got = absorbed_attention({longer.states, longer.rows}, c.query, c.projection());
  // Sums over 5,000 rows in another order.
  EXPECT_LT((got - streamed).abs().max().item<double>(), 1e-12);
}

TEST(CrossAttention, DropoutDoesNotDependOnTheBlocks) {
  const Case c = make_case(at::kDouble);
  const nn::Dropout dropout{.attention = 0.3, .rows = {5, 6}};
  const MemorySource memory = source_of(c);
  const at::Tensor want = streamed_attention(memory, c.query, c.projection(), dropout, 1, 23);
  EXPECT_GT((want - plain(c)).abs().max().item<double>(), 1e-3);
  for (const int64_t block : {1, 4, 9}) {
    const at::Tensor got = streamed_attention(memory, c.query, c.projection(), dropout, 1, block);
    EXPECT_LT((got - want).abs().max().item<double>(), 1e-13);
  }
}

TEST(CrossAttention, SixteenBitInputsAreScoredInFloat32) {
  const Case c = make_case(at::kBFloat16);
  const at::Tensor got = streamed_attention(source_of(c), c.query, c.projection(), {}, 0, 23);
  EXPECT_EQ(got.scalar_type(), at::kBFloat16);
  // The result alone is rounded, by at most 2^-8; scores and probabilities in bfloat16 are off by more.
  const at::Tensor want = plain(c, at::kDouble);
  const auto error = [&](const at::Tensor& result) {
    return ((result.to(at::kDouble) - want).abs().max() / want.abs().max()).item<double>();
  };
  EXPECT_LT(error(got), 1.0 / 256);
  EXPECT_GT(error(plain(c)), 1.0 / 256);
}

}  // namespace
}  // namespace precis::memory

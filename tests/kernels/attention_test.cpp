// The attention kernels against the plain form in float64.
#include "kernels/attention.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>

#include "base/random.h"

namespace precis::kernels {

namespace {

struct Case {
  const char* name;
  at::ScalarType type;
  int64_t B, H, S, T, E;
  bool causal = false;
  double dropout = 0.0;
  std::vector<int64_t> keys_B = {};
  std::vector<int64_t> first_key_B = {};
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name << ' ' << one.type; }

at::Tensor normal(at::IntArrayRef sizes, uint64_t seed, at::ScalarType type) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::normal(0.0, 1.5, sizes, generator, at::TensorOptions().dtype(at::kDouble)).to(type);
}

AttentionSettings settings_of(const Case& one) {
  AttentionSettings settings;
  settings.causal = one.causal;
  settings.keys_B = one.keys_B;
  settings.first_key_B = one.first_key_B;
  settings.dropout = one.dropout;
  settings.site = 7;
  for (int64_t b = 0; b < one.B; ++b) settings.dropout_keys_B.push_back(100 + static_cast<uint64_t>(b));
  return settings;
}

// 0 or 1 / (1 - p), element by element as nn/dropout.h describes it.
at::Tensor factors(const Case& one, const AttentionSettings& settings) {
  at::Tensor result = at::ones({one.B, one.H, one.S, one.T}, at::kDouble);
  if (one.dropout == 0) return result;
  auto at = result.accessor<double, 4>();
  const uint32_t threshold = static_cast<uint32_t>(one.dropout * 0x1p32);
  for (int64_t b = 0; b < one.B; ++b) {
    for (int64_t h = 0; h < one.H; ++h) {
      for (int64_t s = 0; s < one.S; ++s) {
        const uint64_t row = combine(settings.dropout_keys_B[static_cast<size_t>(b)], settings.site);
        const uint64_t line = combine(row, static_cast<uint64_t>(h) << 40 ^ static_cast<uint64_t>(s));
        for (int64_t t = 0; t < one.T; ++t) {
          const int64_t first = one.first_key_B.empty() ? 0 : one.first_key_B[static_cast<size_t>(b)];
          uint32_t column = static_cast<uint32_t>(first + t);
          mix_column(column, static_cast<uint32_t>(line), static_cast<uint32_t>(line >> 32));
          at[b][h][s][t] = column < threshold ? 0.0 : 1.0 / (1.0 - one.dropout);
        }
      }
    }
  }
  return result;
}

struct Reference {
  at::Tensor output, lse, d_query, d_key, d_value;
};

Reference reference(const Case& one, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const at::Tensor& d_output) {
  const auto leaf = [](const at::Tensor& x) { return x.to(at::kDouble).contiguous().requires_grad_(true); };
  const at::Tensor query = leaf(q), key = leaf(k), value = leaf(v);
  at::Tensor scores = at::matmul(query, key.transpose(2, 3)).div(std::sqrt(static_cast<double>(one.E)));
  at::Tensor outside = at::zeros({one.B, 1, one.S, one.T}, at::kBool);
  if (one.causal) outside.logical_or_(at::ones({one.S, one.T}, at::kBool).triu(1));
  for (size_t b = 0; b < one.keys_B.size(); ++b) {
    const int64_t keys = one.keys_B[b];
    if (keys < one.T) outside[static_cast<int64_t>(b)].narrow(2, keys, one.T - keys).fill_(true);
  }
  scores = scores.masked_fill(outside, -std::numeric_limits<double>::infinity());
  const at::Tensor lse = scores.logsumexp(-1);
  // A row without keys has no probabilities.
  const at::Tensor probabilities =
      (scores - lse.unsqueeze(-1)).exp().nan_to_num(0.0).mul(factors(one, settings_of(one)));
  const at::Tensor output = at::matmul(probabilities, value);
  const auto gradients = torch::autograd::grad({output}, {query, key, value}, {d_output.to(at::kDouble)});
  return {output.detach(), lse.detach(), gradients[0].nan_to_num(0.0), gradients[1].nan_to_num(0.0),
          gradients[2]};
}

// Relative to the norm, or to elements of 1e-3 where they are smaller.
double distance(const at::Tensor& got, const at::Tensor& want) {
  const double floor = 1e-3 * std::sqrt(static_cast<double>(want.numel()));
  return (got.to(at::kDouble) - want).norm().item<double>() / std::max(want.norm().item<double>(), floor);
}

class Attention : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& one = GetParam();
    if (!has_attention(one.type, at::kCPU, one.E)) GTEST_SKIP() << "not on this processor";
    // As a projection lies: heads side by side.
    const auto heads = [&](int64_t positions, uint64_t seed) {
      return normal({one.B, positions, one.H, one.E}, seed, one.type).transpose(1, 2);
    };
    query = heads(one.S, 1), key = heads(one.T, 2), value = heads(one.T, 3), d_output = heads(one.S, 4);
    settings = settings_of(one);
    // Of one rounding of bfloat16, 2^-9, a few add up.
    bound = one.type == at::kBFloat16 ? 6e-3 : 3e-6;
  }
  at::Tensor query, key, value, d_output;
  AttentionSettings settings;
  double bound = 0.0;
};

}  // namespace

TEST_P(Attention, IsThePlainForm) {
  const Reference want = reference(GetParam(), query, key, value, d_output);
  const Attended got = attention(query, key, value, settings);
  EXPECT_LT(distance(got.output_BHSE, want.output), bound);
  EXPECT_TRUE(got.lse_BHS.to(at::kDouble).allclose(want.lse, 1e-4, 1e-4));

  const at::Tensor delta = row_products(d_output, want.output.to(GetParam().type));
  const at::Tensor d_query = at::zeros(query.sizes(), at::kFloat);
  const at::Tensor d_key = at::empty_like(key), d_value = at::empty_like(value);
  const AttentionGradientInput input{d_output, got.lse_BHS, delta};
  attention_gradients(query, key, value, input, settings, {d_query, d_key, d_value});
  EXPECT_LT(distance(d_query, want.d_query), bound);
  EXPECT_LT(distance(d_key, want.d_key), bound);
  EXPECT_LT(distance(d_value, want.d_value), bound);

  // One without the others is the same, and the queries' is added to.
  const at::Tensor twice = d_query.clone(), again = at::empty_like(key), value_again = at::empty_like(value);
  attention_gradients(query, key, value, input, settings, {twice, {}, {}});
  attention_gradients(query, key, value, input, settings, {{}, again, value_again});
  EXPECT_TRUE(twice.equal(d_query.mul(2)));
  EXPECT_TRUE(again.equal(d_key) && value_again.equal(d_value));
}

TEST_P(Attention, FoldsBlocksOfKeys) {
  const Case& one = GetParam();
  if (one.causal) return;  // blocks are of a memory
  const Reference want = reference(one, query, key, value, d_output);
  AttentionFold fold;
  for (int64_t begin = 0; begin < one.T; begin += 100) {
    const int64_t count = std::min<int64_t>(100, one.T - begin);
    AttentionSettings block = settings;
    for (int64_t& keys : block.keys_B) keys -= begin;
    block.first_key_B.resize(static_cast<size_t>(one.B));
    for (int64_t& first : block.first_key_B) first += begin;
    fold.fold(query, key.narrow(2, begin, count), value.narrow(2, begin, count), block);
  }
  EXPECT_TRUE(fold.lse().to(at::kDouble).allclose(want.lse, 1e-4, 1e-4));
  EXPECT_LT(distance(fold.output(), want.output), bound);
}

TEST(AttentionOfOneKey, IsItsValue) {
  if (!has_attention(at::kFloat, at::kCPU, 16)) GTEST_SKIP() << "not on this processor";
  const at::Tensor query = normal({1, 2, 40, 16}, 1, at::kFloat), key = normal({1, 2, 1, 16}, 2, at::kFloat);
  const at::Tensor value = normal({1, 2, 1, 16}, 3, at::kFloat);
  EXPECT_TRUE(attention(query, key, value, {}).output_BHSE.allclose(value.expand({1, 2, 40, 16}), 1e-6, 0));
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    all.push_back({"Square", type, 2, 3, 256, 256, 64});
    all.push_back({"OneQuery", type, 1, 2, 1, 700, 64});
    all.push_back({"TwoKeys", type, 2, 2, 70, 2, 16});
    all.push_back({"Odd", type, 2, 3, 77, 1031, 32});
    all.push_back({"Padded", type, 3, 2, 130, 530, 64, false, 0.0, {530, 513, 7}});
    all.push_back({"NothingForOne", type, 2, 2, 40, 64, 64, false, 0.0, {64, 0}});
    all.push_back({"Causal", type, 2, 2, 301, 301, 64, true});
    all.push_back({"Dropout", type, 2, 3, 130, 700, 64, false, 0.3, {}, {0, 5000}});
    all.push_back({"CausalDropout", type, 1, 2, 600, 600, 64, true, 0.1});
    all.push_back({"PaddedDropout", type, 2, 2, 64, 129, 80, false, 0.5, {129, 65}});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention, testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(info.param.name) + (info.param.type == at::kFloat ? "_float32" : "_bfloat16");
});

}  // namespace precis::kernels

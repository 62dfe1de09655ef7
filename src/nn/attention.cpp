// Self-attention: the library's fused kernel, or the plain form where dropout is wanted.
#include "nn/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/bfloat16.h"

namespace precis::nn {

at::Tensor split_heads(const at::Tensor& x_BSD, int64_t heads) {
  return x_BSD.view({x_BSD.size(0), x_BSD.size(1), heads, x_BSD.size(2) / heads}).transpose(1, 2);
}

at::Tensor join_heads(const at::Tensor& x_BHSE) {
  return x_BHSE.transpose(1, 2).reshape({x_BHSE.size(0), x_BHSE.size(2), x_BHSE.size(1) * x_BHSE.size(3)});
}

at::Tensor attention(const at::Tensor& query_BHSE, const at::Tensor& key_BHKE, const at::Tensor& value_BHKE,
                     const AttentionMask& mask, const Dropout& dropout, uint64_t site) {
  if (widens_bfloat16(query_BHSE.scalar_type(), query_BHSE.device())) {
    const auto wide = [](const at::Tensor& x) { return x.to(at::kFloat); };
    return attention(wide(query_BHSE), wide(key_BHKE), wide(value_BHKE), mask, dropout, site)
        .to(at::kBFloat16);
  }
  if (dropout.rows.empty() || dropout.attention == 0.0) {
    const std::optional<at::Tensor> keys =
        mask.keys_B11K.defined() ? std::optional<at::Tensor>(mask.keys_B11K) : std::nullopt;
    return at::scaled_dot_product_attention(query_BHSE, key_BHKE, value_BHKE, keys, 0.0, mask.causal);
  }
  const double scale = 1.0 / std::sqrt(static_cast<double>(query_BHSE.size(3)));
  at::Tensor scores = at::matmul(query_BHSE.mul(scale), key_BHKE.transpose(2, 3));
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  if (mask.causal) {
    const at::Tensor later =
        at::ones({scores.size(2), scores.size(3)}, scores.options().dtype(at::kBool)).triu(1);
    scores = scores.masked_fill(later, minus_infinity);
  }
  if (mask.keys_B11K.defined()) scores = scores.masked_fill(mask.keys_B11K.logical_not(), minus_infinity);
  const at::Tensor probabilities = nn::dropout(scores.softmax(-1), dropout.attention, dropout.rows, site);
  return at::matmul(probabilities, value_BHKE);
}

at::Tensor key_mask(const std::vector<int64_t>& lengths_B, int64_t positions, at::Device device) {
  const bool full =
      std::all_of(lengths_B.begin(), lengths_B.end(), [&](int64_t n) { return n == positions; });
  if (full) return at::Tensor();
  const at::Tensor lengths = at::tensor(lengths_B, at::kLong).view({-1, 1, 1, 1});
  return at::arange(positions, at::kLong).view({1, 1, 1, -1}).lt(lengths).to(device);
}

}  // namespace precis::nn

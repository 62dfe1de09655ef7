// Scores of a block and what follows from them.
#include "memory/cross_block.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/bfloat16.h"
#include "nn/linear.h"

namespace precis::memory {

namespace {

// [n] += d, in the sum's type; the first d becomes the sum.
void add_up(at::Tensor& sum, const at::Tensor& d) {
  if (sum.defined()) {
    sum.add_(d);
  } else {
    sum = d;
  }
}

// a' b, added to `sum`: in the type of both where that is the sum's, else added up in the sum's.
void add_product(at::Tensor& sum, const at::Tensor& a_RD, const at::Tensor& b_RM, at::ScalarType type) {
  if (sum.defined() && a_RD.scalar_type() == sum.scalar_type()) {
    sum.addmm_(a_RD.t(), b_RM);
  } else {
    add_up(sum, at::mm(a_RD.t(), b_RM).to(type));
  }
}

}  // namespace

at::ScalarType score_type(at::ScalarType type) {
  return type == at::kHalf || type == at::kBFloat16 ? at::kFloat : type;
}

int64_t rows_of_a_block(int64_t scores_a_row) {
  constexpr int64_t kBlockScores = int64_t{1} << 22;
  return std::clamp<int64_t>(kBlockScores / std::max<int64_t>(1, scores_a_row), 256, 4096);
}

void rule_out_padding(at::Tensor scores_BHSt, const std::vector<int64_t>& rows_B, int64_t begin) {
  const int64_t end = begin + scores_BHSt.size(3);
  if (std::all_of(rows_B.begin(), rows_B.end(), [end](int64_t rows) { return rows >= end; })) return;
  const at::Tensor lengths = at::tensor(rows_B, at::kLong).view({-1, 1, 1, 1});
  const at::Tensor outside = at::arange(begin, end, at::kLong).view({1, 1, 1, -1}).ge(lengths);
  scores_BHSt.masked_fill_(outside.to(scores_BHSt.device()), -std::numeric_limits<double>::infinity());
}

at::Tensor to_heads(const at::Tensor& x_BtD, int64_t heads) {
  const int64_t B = x_BtD.size(0), t = x_BtD.size(1), E = x_BtD.size(2) / heads;
  return x_BtD.to(score_type(x_BtD.scalar_type()))
      .view({B, t, heads, E})
      .transpose(1, 2)
      .reshape({B * heads, t, E});
}

at::Tensor from_heads(const at::Tensor& x_NtE, int64_t heads) {
  const int64_t B = x_NtE.size(0) / heads, t = x_NtE.size(1), E = x_NtE.size(2);
  return x_NtE.view({B, heads, t, E}).transpose(1, 2).reshape({B, t, heads * E});
}

CrossQueries::CrossQueries(const at::Tensor& query_BSD, int64_t heads, std::vector<int64_t> rows_B,
                           const nn::Dropout& dropout, int64_t layer)
    : heads(heads), rows_B(std::move(rows_B)) {
  const double width = static_cast<double>(query_BSD.size(2) / heads);
  query_NSE = to_heads(query_BSD, heads).mul(1.0 / std::sqrt(width));
  if (dropout.rows.empty() || dropout.attention == 0) return;
  this->dropout = dropout.attention;
  keys_B = dropout.rows;
  site = nn::dropout_site(nn::kCrossAttentionSite, static_cast<uint64_t>(layer));
}

CrossQueries CrossQueries::document(int64_t b) const {
  CrossQueries result = *this;
  result.query_NSE = query_NSE.narrow(0, b * heads, heads);
  result.rows_B = {rows_B[static_cast<size_t>(b)]};
  if (!keys_B.empty()) result.keys_B = {keys_B[static_cast<size_t>(b)]};
  return result;
}

at::Tensor CrossQueries::scores(const at::Tensor& key_NtE, int64_t begin) const {
  at::Tensor scores = at::bmm(query_NSE, key_NtE.transpose(1, 2));
  const int64_t B = static_cast<int64_t>(rows_B.size());
  rule_out_padding(scores.view({B, heads, scores.size(1), scores.size(2)}), rows_B, begin);
  return scores;
}

at::Tensor CrossQueries::dropout_factors(int64_t t, int64_t begin) const {
  if (dropout == 0) return at::Tensor();
  const int64_t B = static_cast<int64_t>(rows_B.size()), S = query_NSE.size(1);
  return nn::dropout_factors({B, heads, S, t}, dropout, keys_B, site, begin, query_NSE.options())
      .view({B * heads, S, t});
}

QueryGradients QueryGradients::document(int64_t b, int64_t heads) const {
  const auto of = [&](const at::Tensor& x) { return x.narrow(0, b * heads, heads); };
  return {of(lse_NS1), of(gradient_NSE), of(delta_NS1)};
}

ScoreGradients score_gradients(const CrossQueries& queries, const QueryGradients& gradients,
                               const at::Tensor& key_NtE, const at::Tensor& value_NtE, int64_t begin) {
  const at::Tensor probability = queries.scores(key_NtE, begin).sub_(gradients.lse_NS1).exp_();
  at::Tensor d_probability = at::bmm(gradients.gradient_NSE, value_NtE.transpose(1, 2));
  at::Tensor dropped = probability;
  const at::Tensor factors = queries.dropout_factors(key_NtE.size(1), begin);
  if (factors.defined()) {
    d_probability.mul_(factors);
    dropped = probability.mul(factors);
  }
  return {dropped, d_probability.sub_(gradients.delta_NS1).mul_(probability)};
}

KeysAndValues::KeysAndValues(const at::Tensor& states_BtM, const nn::CrossProjection& projection)
    : key_NtE(to_heads(nn::linear(states_BtM, projection.key_weight_DM, projection.key_bias_D),
                       projection.heads)),
      value_NtE(to_heads(nn::linear(states_BtM, projection.value_weight_DM, projection.value_bias_D),
                         projection.heads)) {}

at::Tensor ProjectionGradient::add(const at::Tensor& states_RM, const at::Tensor& d_key_RD,
                                   const at::Tensor& d_value_RD, const nn::CrossProjection& projection) {
  const at::ScalarType sums = d_key_RD.scalar_type();
  const bool widened = nn::widens_bfloat16(states_RM.scalar_type(), states_RM.device());
  const at::ScalarType products = widened ? sums : states_RM.scalar_type();
  const at::Tensor states = states_RM.to(products);
  const at::Tensor d_key = d_key_RD.to(products), d_value = d_value_RD.to(products);
  add_product(key_DM, d_key, states, sums);
  add_product(value_DM, d_value, states, sums);
  if (projection.key_bias_D.defined()) add_up(key_bias_D, d_key_RD.sum(0));
  if (projection.value_bias_D.defined()) add_up(value_bias_D, d_value_RD.sum(0));
  at::Tensor d_states = at::mm(d_key, projection.key_weight_DM.to(products));
  return d_states.addmm_(d_value, projection.value_weight_DM.to(products));
}

}  // namespace precis::memory

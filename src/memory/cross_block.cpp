// Scores of a block and what follows from them.
#include "memory/cross_block.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/bfloat16.h"
#include "nn/linear.h"

namespace precis::memory {

namespace {

at::Tensor& gradient_of(const at::Tensor& parameter) {
  at::Tensor& gradient = at::Tensor(parameter).mutable_grad();
  if (!gradient.defined()) gradient = at::zeros_like(parameter);
  return gradient;
}

// a' b, added to the parameter's gradient: in one product where the types are one, else in the gradient's.
void add_product(const at::Tensor& parameter, const at::Tensor& a_RD, const at::Tensor& b_RM) {
  at::Tensor& sum = gradient_of(parameter);
  if (a_RD.scalar_type() == sum.scalar_type()) {
    sum.addmm_(a_RD.t(), b_RM);
  } else {
    sum.add_(at::mm(a_RD.t(), b_RM));
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
                           std::vector<int64_t> first_row_B, const nn::Dropout& dropout, int64_t layer)
    : products(query_BSD.scalar_type()),
      heads(heads),
      rows_B(std::move(rows_B)),
      first_row_B(std::move(first_row_B)) {
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
  result.first_row_B = {first_row_B[static_cast<size_t>(b)]};
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
  const int64_t S = query_NSE.size(1);
  std::vector<at::Tensor> factors;
  for (size_t b = 0; b < rows_B.size(); ++b) {
    factors.push_back(nn::dropout_factors({1, heads, S, t}, dropout, {keys_B[b]}, site,
                                          first_row_B[b] + begin, query_NSE.options())
                          .view({heads, S, t}));
  }
  return factors.size() == 1 ? factors.front() : at::cat(factors);
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
    : key_BtD(nn::linear(states_BtM, projection.key_weight_DM, projection.key_bias_D)),
      value_BtD(nn::linear(states_BtM, projection.value_weight_DM, projection.value_bias_D)),
      heads_(projection.heads) {}

at::Tensor ProjectionGradient::add(const at::Tensor& states_RM, const at::Tensor& d_key_RD,
                                   const at::Tensor& d_value_RD) const {
  const at::NoGradGuard no_grad;
  const bool widened = nn::widens_bfloat16(states_RM.scalar_type(), states_RM.device());
  const at::ScalarType products = widened ? d_key_RD.scalar_type() : states_RM.scalar_type();
  const at::Tensor states = states_RM.to(products);
  const at::Tensor d_key = d_key_RD.to(products), d_value = d_value_RD.to(products);
  add_product(projection_.key_weight_DM, d_key, states);
  add_product(projection_.value_weight_DM, d_value, states);
  if (projection_.key_bias_D.defined()) gradient_of(projection_.key_bias_D).add_(d_key_RD.sum(0));
  if (projection_.value_bias_D.defined()) gradient_of(projection_.value_bias_D).add_(d_value_RD.sum(0));
  at::Tensor d_states_RM = at::mm(d_key, projection_.key_weight_DM.to(products));
  return d_states_RM.addmm_(d_value, projection_.value_weight_DM.to(products));
}

}  // namespace precis::memory

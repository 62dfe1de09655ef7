// Scores of a block and what follows from them.
#include "memory/cross_block.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/attention.h"
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

void add_rows(const at::Tensor& bias_D, const at::Tensor& d_RD) {
  at::Tensor& sum = gradient_of(bias_D);
  sum.add_(d_RD.sum(0, false, sum.scalar_type()));
}

// 1 / sqrt(E).
double scale_of(const at::Tensor& x_NSE) { return 1.0 / std::sqrt(static_cast<double>(x_NSE.size(2))); }

// [N, S, t] of the block that starts at memory row `begin`, -inf at rows that are not a document's own.
at::Tensor scores_of(const CrossQueries& queries, const at::Tensor& key_NtE, int64_t begin) {
  at::Tensor scores = at::bmm(queries.query_NSE, key_NtE.transpose(1, 2));
  const int64_t B = static_cast<int64_t>(queries.rows_B.size());
  rule_out_padding(scores.view({B, queries.heads, scores.size(1), scores.size(2)}), queries.rows_B, begin);
  return scores;
}

// What dropout multiplies that block's probabilities with, 0 or 1 / (1 - p); undefined without dropout.
at::Tensor dropout_of(const CrossQueries& queries, int64_t t, int64_t begin) {
  if (queries.dropout == 0) return at::Tensor();
  const int64_t S = queries.query_NSE.size(1);
  std::vector<at::Tensor> factors;
  for (size_t b = 0; b < queries.rows_B.size(); ++b) {
    factors.push_back(nn::dropout_factors({1, queries.heads, S, t}, queries.dropout, {queries.keys_B[b]},
                                          queries.site, queries.first_row_B[b] + begin,
                                          queries.query_NSE.options())
                          .view({queries.heads, S, t}));
  }
  return factors.size() == 1 ? factors.front() : at::cat(factors);
}

BlockGradients plain_gradients(const CrossQueries& queries, const QueryGradients& gradients,
                               const KeysAndValues& block, int64_t begin, const at::Tensor& d_query_NSE,
                               bool of_rows) {
  const at::ScalarType type = queries.query_NSE.scalar_type();
  const at::Tensor key_NtE = to_heads(block.key_BtD, queries.heads, type);
  const at::Tensor value_NtE = to_heads(block.value_BtD, queries.heads, type);
  const at::Tensor probability = scores_of(queries, key_NtE, begin).sub_(gradients.lse_NS1).exp_();
  at::Tensor d_probability = at::bmm(gradients.gradient_NSE, value_NtE.transpose(1, 2));
  at::Tensor dropped = probability;
  const at::Tensor factors = dropout_of(queries, key_NtE.size(1), begin);
  if (factors.defined()) {
    d_probability.mul_(factors);
    dropped = probability.mul(factors);
  }
  const at::Tensor d_scores = d_probability.sub_(gradients.delta_NS1).mul_(probability);
  if (d_query_NSE.defined()) at::Tensor(d_query_NSE).baddbmm_(d_scores, key_NtE, 1.0, scale_of(key_NtE));
  if (!of_rows) return {};
  const auto rows = [&](const at::Tensor& d_NtE) { return from_heads(d_NtE, queries.heads).flatten(0, 1); };
  return {rows(at::bmm(d_scores.transpose(1, 2), queries.query_NSE)),
          rows(at::bmm(dropped.transpose(1, 2), gradients.gradient_NSE))};
}

// [N, S, E] as [B, H, S, E].
at::Tensor of_documents(const at::Tensor& x_NSE, int64_t heads) {
  return x_NSE.view({-1, heads, x_NSE.size(1), x_NSE.size(2)});
}

kernels::AttentionSettings settings_of(const CrossQueries& queries, int64_t begin) {
  kernels::AttentionSettings settings{.keys_B = queries.rows_B,
                                      .dropout = queries.dropout,
                                      .dropout_keys_B = queries.keys_B,
                                      .site = queries.site,
                                      .first_key_B = queries.first_row_B};
  for (int64_t& rows : settings.keys_B) rows -= begin;
  for (int64_t& first : settings.first_key_B) first += begin;
  return settings;
}

BlockGradients kernel_gradients(const CrossQueries& queries, const QueryGradients& gradients,
                                const KeysAndValues& block, int64_t begin, const at::Tensor& d_query_NSE,
                                bool of_rows) {
  const int64_t heads = queries.heads;
  const auto of = [heads](const at::Tensor& x_NSE) { return of_documents(x_NSE, heads); };
  BlockGradients rows;
  kernels::AttentionGradients wanted;
  if (d_query_NSE.defined()) wanted.d_query_BHSE = of(d_query_NSE);
  if (of_rows) {
    const at::Tensor d_key_BtD = at::empty_like(block.key_BtD), d_value_BtD = at::empty_like(block.value_BtD);
    rows = {d_key_BtD.flatten(0, 1), d_value_BtD.flatten(0, 1)};
    wanted.d_key_BHTE = nn::split_heads(d_key_BtD, heads);
    wanted.d_value_BHTE = nn::split_heads(d_value_BtD, heads);
  }
  kernels::attention_gradients(of(queries.query_NSE), nn::split_heads(block.key_BtD, heads),
                               nn::split_heads(block.value_BtD, heads),
                               {of(gradients.gradient_NSE), of(gradients.lse_NS1), of(gradients.delta_NS1)},
                               settings_of(queries, begin), wanted);
  return rows;
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

at::Tensor to_heads(const at::Tensor& x_BtD, int64_t heads, at::ScalarType type) {
  const int64_t B = x_BtD.size(0), t = x_BtD.size(1), E = x_BtD.size(2) / heads;
  return x_BtD.to(type).view({B, t, heads, E}).transpose(1, 2).reshape({B * heads, t, E});
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
  const int64_t width = query_BSD.size(2) / heads;
  kernels = precis::kernels::has_attention(products, query_BSD.device(), width);
  query_NSE = to_heads(query_BSD, heads, kernels ? products : score_type(products));
  if (!kernels) query_NSE = query_NSE.mul(scale_of(query_NSE));
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

QueryGradients::QueryGradients(const CrossQueries& queries, const at::Tensor& lse_NS1,
                               const at::Tensor& gradient_NSE, const at::Tensor& output_NSE)
    : lse_NS1(lse_NS1),
      gradient_NSE(gradient_NSE.to(queries.query_NSE.scalar_type())),
      delta_NS1(gradient_NSE.mul(output_NSE).sum(-1, true)) {}

QueryGradients QueryGradients::document(int64_t b, int64_t heads) const {
  QueryGradients result = *this;
  for (at::Tensor* x : {&result.lse_NS1, &result.gradient_NSE, &result.delta_NS1}) *x = x->narrow(0, b * heads, heads);
  return result;
}

KeysAndValues::KeysAndValues(const at::Tensor& states_BtM, const nn::CrossProjection& projection)
    : key_BtD(nn::linear(states_BtM, projection.key_weight_DM, projection.key_bias_D)),
      value_BtD(nn::linear(states_BtM, projection.value_weight_DM, projection.value_bias_D)) {}

void CrossFold::fold(const KeysAndValues& block, int64_t begin) {
  const int64_t heads = queries_.heads;
  if (queries_.kernels) {
    kernel_.fold(of_documents(queries_.query_NSE, heads), nn::split_heads(block.key_BtD, heads),
                 nn::split_heads(block.value_BtD, heads), settings_of(queries_, begin));
    return;
  }
  const at::Tensor key_NtE = to_heads(block.key_BtD, heads, queries_.query_NSE.scalar_type());
  plain_.fold(scores_of(queries_, key_NtE, begin), to_heads(block.value_BtD, heads, key_NtE.scalar_type()),
              dropout_of(queries_, key_NtE.size(1), begin));
}

at::Tensor CrossFold::output() {
  return queries_.kernels ? kernel_.output().view(queries_.query_NSE.sizes()) : plain_.output();
}

at::Tensor CrossFold::lse() const {
  return queries_.kernels ? kernel_.lse().view({queries_.query_NSE.size(0), -1, 1}) : plain_.lse();
}

BlockGradients block_gradients(const CrossQueries& queries, const QueryGradients& gradients,
                               const KeysAndValues& block, int64_t begin, const at::Tensor& d_query_NSE,
                               bool of_rows) {
  return queries.kernels ? kernel_gradients(queries, gradients, block, begin, d_query_NSE, of_rows)
                         : plain_gradients(queries, gradients, block, begin, d_query_NSE, of_rows);
}

at::Tensor ProjectionGradient::add(const at::Tensor& states_RM, const at::Tensor& d_key_RD,
                                   const at::Tensor& d_value_RD) const {
  const at::NoGradGuard no_grad;
  const bool widened = nn::widens_bfloat16(states_RM.scalar_type(), states_RM.device());
  const at::ScalarType products = widened ? at::kFloat : states_RM.scalar_type();
  const at::Tensor states = states_RM.to(products);
  const at::Tensor d_key = d_key_RD.to(products), d_value = d_value_RD.to(products);
  add_product(projection_.key_weight_DM, d_key, states);
  add_product(projection_.value_weight_DM, d_value, states);
  if (projection_.key_bias_D.defined()) add_rows(projection_.key_bias_D, d_key_RD);
  if (projection_.value_bias_D.defined()) add_rows(projection_.value_bias_D, d_value_RD);
  at::Tensor d_states_RM = at::mm(d_key, projection_.key_weight_DM.to(products));
  return d_states_RM.addmm_(d_value, projection_.value_weight_DM.to(products));
}

}  // namespace precis::memory

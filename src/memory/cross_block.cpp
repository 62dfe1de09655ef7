// Scores of a block and what follows from them.
#include "memory/cross_block.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "nn/attention.h"
#include "nn/linear.h"

namespace precis::memory {

namespace {

using How = CrossQueries::How;

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

// Of CUDA, for 16-bit types and heads of the widths that all of its versions take.
bool has_flash(at::ScalarType products, at::Device device, int64_t head_width) {
  return device.is_cuda() && (products == at::kBFloat16 || products == at::kHalf) && head_width % 8 == 0 &&
         head_width <= 128;
}

// Calls visit(queries, keys, values as [B, H, .., E], the first of N, their number) of documents at once
// where all have rows in the whole block, else of each that has some. Flash attention takes no padding.
template <typename Visit>
void for_each_unpadded(const CrossQueries& queries, const KeysAndValues& block, int64_t begin,
                       const Visit& visit) {
  const int64_t heads = queries.heads, t = block.key_BtD.size(1);
  const at::Tensor query_BHSE = of_documents(queries.query_NSE, heads);
  const at::Tensor key_BHtE = nn::split_heads(block.key_BtD, heads);
  const at::Tensor value_BHtE = nn::split_heads(block.value_BtD, heads);
  if (std::all_of(queries.rows_B.begin(), queries.rows_B.end(), [&](int64_t n) { return n >= begin + t; })) {
    return visit(query_BHSE, key_BHtE, value_BHtE, 0, query_BHSE.size(0));
  }
  for (int64_t b = 0; b < query_BHSE.size(0); ++b) {
    const int64_t rows = std::min(t, queries.rows_B[static_cast<size_t>(b)] - begin);
    if (rows <= 0) continue;
    const auto own = [&](const at::Tensor& x_BHtE) { return x_BHtE.narrow(0, b, 1).narrow(2, 0, rows); };
    visit(query_BHSE.narrow(0, b, 1), own(key_BHtE), own(value_BHtE), b, 1);
  }
}

struct FlashOutput {
  at::Tensor output_NSE, lse_NS1;  // float32
};

FlashOutput flash_forward(const CrossQueries& queries, const KeysAndValues& block, int64_t begin) {
  const auto options = queries.query_NSE.options().dtype(at::kFloat);
  const FlashOutput result{at::zeros(queries.query_NSE.sizes(), options),
                           at::full({queries.query_NSE.size(0), queries.query_NSE.size(1), 1},
                                    -std::numeric_limits<double>::infinity(), options)};
  for_each_unpadded(
      queries, block, begin,
      [&](const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, int64_t b, int64_t B) {
        const auto made = at::_scaled_dot_product_flash_attention(query, key, value);
        const int64_t first = b * queries.heads, count = B * queries.heads;
        result.output_NSE.narrow(0, first, count).copy_(std::get<0>(made).flatten(0, 1));
        result.lse_NS1.narrow(0, first, count).copy_(std::get<1>(made).flatten(0, 1).unsqueeze(-1));
      });
  return result;
}

BlockGradients flash_gradients(const CrossQueries& queries, const QueryGradients& gradients,
                               const KeysAndValues& block, int64_t begin, const at::Tensor& d_query_NSE,
                               bool of_rows) {
  BlockGradients rows;
  if (of_rows) {
    rows = {at::zeros_like(block.key_BtD).flatten(0, 1), at::zeros_like(block.value_BtD).flatten(0, 1)};
  }
  const at::Tensor none = at::empty({0}, queries.query_NSE.options().dtype(at::kLong));
  for_each_unpadded(
      queries, block, begin,
      [&](const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, int64_t b, int64_t B) {
        const int64_t first = b * queries.heads, count = B * queries.heads;
        const auto of = [&](const at::Tensor& x_NSE) {
          return of_documents(x_NSE.narrow(0, first, count), queries.heads);
        };
        const auto [d_query, d_key, d_value] = at::_scaled_dot_product_flash_attention_backward(
            of(gradients.gradient_NSE), query, key, value, of(gradients.output_NSE),
            of(gradients.lse_NS1).squeeze(-1).contiguous(), at::Tensor(), at::Tensor(), query.size(2),
            key.size(2), 0.0, false, none, none);
        if (d_query_NSE.defined()) d_query_NSE.narrow(0, first, count).add_(d_query.flatten(0, 1));
        if (!of_rows) return;
        const auto put = [&](const at::Tensor& all_RD, const at::Tensor& d_BHtE) {
          nn::split_heads(all_RD.view(block.key_BtD.sizes()), queries.heads)
              .narrow(0, b, B)
              .narrow(2, 0, d_BHtE.size(2))
              .copy_(d_BHtE);
        };
        put(rows.d_key_RD, d_key);
        put(rows.d_value_RD, d_value);
      });
  return rows;
}

}  // namespace

at::ScalarType score_type(at::ScalarType type) {
  return type == at::kHalf || type == at::kBFloat16 ? at::kFloat : type;
}

int64_t rows_of_a_block(int64_t scores_a_row, at::Device device) {
  const int64_t scores = int64_t{1} << (device.is_cuda() ? 26 : 22);
  return std::clamp<int64_t>(scores / std::max<int64_t>(1, scores_a_row), 256,
                             device.is_cuda() ? 16384 : 4096);
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
  const bool drops = !dropout.rows.empty() && dropout.attention > 0;
  if (kernels::has_attention(products, query_BSD.device(), width)) {
    how = How::kKernel;
  } else if (has_flash(products, query_BSD.device(), width) && !drops) {
    how = How::kFlash;
  }
  query_NSE = to_heads(query_BSD, heads, how == How::kPlain ? score_type(products) : products);
  if (how == How::kPlain) query_NSE = query_NSE.mul(scale_of(query_NSE));
  if (!drops) return;
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
      delta_NS1(gradient_NSE.mul(output_NSE).sum(-1, true)) {
  if (queries.how == CrossQueries::How::kFlash) this->output_NSE = output_NSE.to(queries.products);
}

QueryGradients QueryGradients::document(int64_t b, int64_t heads) const {
  QueryGradients result = *this;
  for (at::Tensor* x : {&result.lse_NS1, &result.gradient_NSE, &result.delta_NS1, &result.output_NSE}) {
    if (x->defined()) *x = x->narrow(0, b * heads, heads);
  }
  return result;
}

KeysAndValues::KeysAndValues(const at::Tensor& states_BtM, const nn::CrossProjection& projection)
    : key_BtD(nn::linear(states_BtM, projection.key_weight_DM, projection.key_bias_D)),
      value_BtD(nn::linear(states_BtM, projection.value_weight_DM, projection.value_bias_D)) {}

void CrossFold::fold(const KeysAndValues& block, int64_t begin) {
  const int64_t heads = queries_.heads;
  const auto of_block = [heads](const at::Tensor& x_BtD) { return nn::split_heads(x_BtD, heads); };
  if (queries_.how == How::kKernel) {
    kernel_.fold(of_documents(queries_.query_NSE, heads), of_block(block.key_BtD), of_block(block.value_BtD),
                 settings_of(queries_, begin));
  } else if (queries_.how == How::kFlash) {
    const auto [output_NSE, lse_NS1] = flash_forward(queries_, block, begin);
    if (!flash_lse_NS1_.defined()) {
      flash_output_NSE_ = output_NSE, flash_lse_NS1_ = lse_NS1;
      return;
    }
    const at::Tensor both = at::logaddexp(flash_lse_NS1_, lse_NS1);
    // Where neither has rows, -inf - -inf.
    const auto share = [&](const at::Tensor& lse) { return lse.sub(both).exp_().nan_to_num_(0.0); };
    flash_output_NSE_.mul_(share(flash_lse_NS1_)).addcmul_(output_NSE, share(lse_NS1));
    flash_lse_NS1_ = both;
  } else {
    const at::Tensor key_NtE = to_heads(block.key_BtD, heads, queries_.query_NSE.scalar_type());
    plain_.fold(scores_of(queries_, key_NtE, begin), to_heads(block.value_BtD, heads, key_NtE.scalar_type()),
                dropout_of(queries_, key_NtE.size(1), begin));
  }
}

at::Tensor CrossFold::output() {
  if (queries_.how == How::kFlash) return flash_output_NSE_;
  return queries_.how == How::kKernel ? kernel_.output().view(queries_.query_NSE.sizes()) : plain_.output();
}

at::Tensor CrossFold::lse() const {
  if (queries_.how == How::kFlash) return flash_lse_NS1_;
  return queries_.how == How::kKernel ? kernel_.lse().view({queries_.query_NSE.size(0), -1, 1})
                                      : plain_.lse();
}

BlockGradients block_gradients(const CrossQueries& queries, const QueryGradients& gradients,
                               const KeysAndValues& block, int64_t begin, const at::Tensor& d_query_NSE,
                               bool of_rows) {
  const auto made = queries.how == How::kKernel  ? kernel_gradients
                    : queries.how == How::kFlash ? flash_gradients
                                                 : plain_gradients;
  return made(queries, gradients, block, begin, d_query_NSE, of_rows);
}

at::Tensor ProjectionGradient::add(const at::Tensor& states_RM, const at::Tensor& d_key_RD,
                                   const at::Tensor& d_value_RD) const {
  const at::NoGradGuard no_grad;
  const at::ScalarType products = states_RM.scalar_type();
  const at::Tensor d_key = d_key_RD.to(products), d_value = d_value_RD.to(products);
  nn::add_linear_gradient(projection_.key_weight_DM, projection_.key_bias_D, d_key, states_RM);
  nn::add_linear_gradient(projection_.value_weight_DM, projection_.value_bias_D, d_value, states_RM);
  return nn::linear_input_gradient(d_value, projection_.value_weight_DM,
                                   nn::linear_input_gradient(d_key, projection_.key_weight_DM));
}

}  // namespace precis::memory

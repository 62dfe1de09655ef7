// Self-attention: our kernel, the library's fused one, or the plain form where neither takes what is wanted.
#include "nn/attention.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention.h"
#include "nn/bfloat16.h"

namespace precis::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The kernel lays keys and values out anew, which a few queries, as a decoder step has, are not worth.
constexpr int64_t kQueriesWorthAKernel = 16;

bool has_kernel(const at::Tensor& query_BHSE, const AttentionMask& mask) {
  return query_BHSE.size(2) >= kQueriesWorthAKernel && mask.keys_B11K.defined() == !mask.lengths_B.empty() &&
         kernels::has_attention(query_BHSE.scalar_type(), query_BHSE.device(), query_BHSE.size(3));
}

kernels::AttentionSettings kernel_settings(const AttentionMask& mask, const Dropout& dropout, uint64_t site) {
  kernels::AttentionSettings settings{.keys_B = mask.lengths_B, .causal = mask.causal};
  if (dropout.rows.empty()) return settings;
  settings.dropout = dropout.attention;
  settings.dropout_keys_B = dropout.rows;
  settings.site = site;
  return settings;
}

std::array<at::Tensor, 3> kernel_gradients(const at::Tensor& query, const at::Tensor& key,
                                           const at::Tensor& value, const at::Tensor& output,
                                           const at::Tensor& lse, const at::Tensor& gradient,
                                           const kernels::AttentionSettings& settings) {
  const at::Tensor d_output = gradient.stride(3) == 1 ? gradient : gradient.contiguous();
  const kernels::AttentionGradientInput input{d_output, lse, kernels::row_products(d_output, output)};
  // Heads side by side, as projections give and take them.
  const auto like = [](const at::Tensor& x, at::ScalarType type) {
    return at::empty({x.size(0), x.size(2), x.size(1), x.size(3)}, x.options().dtype(type)).transpose(1, 2);
  };
  const at::Tensor d_query = like(query, at::kFloat).zero_();
  const at::Tensor d_key = like(key, key.scalar_type()), d_value = like(value, value.scalar_type());
  kernels::attention_gradients(query, key, value, input, settings, {d_query, d_key, d_value});
  return {d_query.to(query.scalar_type()), d_key, d_value};
}

struct Settings : torch::CustomClassHolder, kernels::AttentionSettings {
  explicit Settings(kernels::AttentionSettings settings) : kernels::AttentionSettings(std::move(settings)) {}
};

// The kernel as an autograd function: it keeps its inputs, its output and the log-sum-exp.
struct Function : torch::autograd::Function<Function> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                            const at::Tensor& value, c10::intrusive_ptr<Settings> settings) {
    const auto [output, lse] = kernels::attention(query, key, value, *settings);
    context->save_for_backward({query, key, value, output, lse});
    context->saved_data["settings"] = at::IValue::make_capsule(settings);
    return output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto settings =
        c10::static_intrusive_pointer_cast<Settings>(context->saved_data["settings"].toCapsule());
    const variable_list saved = context->get_saved_variables();
    const auto [d_query, d_key, d_value] =
        kernel_gradients(saved[0], saved[1], saved[2], saved[3], saved[4], gradients[0], *settings);
    return {d_query, d_key, d_value, at::Tensor()};
  }
};

}  // namespace

bool attention_is_fused(at::ScalarType type, at::Device device, int64_t head_width, bool dropout) {
  return !dropout || kernels::has_attention(type, device, head_width);
}

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
  if (has_kernel(query_BHSE, mask)) {
    return Function::apply(query_BHSE, key_BHKE, value_BHKE,
                           c10::make_intrusive<Settings>(kernel_settings(mask, dropout, site)));
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

at::Tensor RecordedAttention::forward(const at::Tensor& query_BHSE, const at::Tensor& key_BHKE,
                                      const at::Tensor& value_BHKE, const AttentionMask& mask,
                                      const Dropout& dropout, uint64_t site) {
  mask_ = mask;
  dropout_ = dropout;
  site_ = site;
  if (has_kernel(query_BHSE, mask)) {
    query_ = query_BHSE, key_ = key_BHKE, value_ = value_BHKE;
    const auto [output, lse] =
        kernels::attention(query_BHSE, key_BHKE, value_BHKE, kernel_settings(mask, dropout, site));
    output_ = output, lse_ = lse;
  } else {
    give_inputs(query_BHSE, key_BHKE, value_BHKE);
  }
  return output_.detach();
}

void RecordedAttention::forget_inputs() {
  query_ = key_ = value_ = at::Tensor();
  output_ = output_.detach();  // its graph holds them too
}

void RecordedAttention::give_inputs(const at::Tensor& query_BHSE, const at::Tensor& key_BHKE,
                                    const at::Tensor& value_BHKE) {
  query_ = query_BHSE.detach(), key_ = key_BHKE.detach(), value_ = value_BHKE.detach();
  if (lse_.defined()) return;
  const at::AutoGradMode with_graph(true);
  for (const at::Tensor* x : {&query_, &key_, &value_}) x->set_requires_grad(true);
  output_ = attention(query_, key_, value_, mask_, dropout_, site_);
}

std::array<at::Tensor, 3> RecordedAttention::gradients(const at::Tensor& d_output_BHSE) const {
  if (lse_.defined()) {
    return kernel_gradients(query_, key_, value_, output_, lse_, d_output_BHSE,
                            kernel_settings(mask_, dropout_, site_));
  }
  const variable_list parts = torch::autograd::grad({output_}, {query_, key_, value_}, {d_output_BHSE});
  return {parts[0], parts[1], parts[2]};
}

AttentionMask AttentionMask::padding(const std::vector<int64_t>& lengths_B, int64_t positions,
                                     at::Device device) {
  AttentionMask mask{.keys_B11K = key_mask(lengths_B, positions, device)};
  if (mask.keys_B11K.defined()) mask.lengths_B = lengths_B;
  return mask;
}

at::Tensor key_mask(const std::vector<int64_t>& lengths_B, int64_t positions, at::Device device) {
  const bool full =
      std::all_of(lengths_B.begin(), lengths_B.end(), [&](int64_t n) { return n == positions; });
  if (full) return at::Tensor();
  const at::Tensor lengths = at::tensor(lengths_B, at::kLong).view({-1, 1, 1, 1});
  return at::arange(positions, at::kLong).view({1, 1, 1, -1}).lt(lengths).to(device);
}

}  // namespace precis::nn

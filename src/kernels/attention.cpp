// Tensors to the passes on plain memory.
#include "kernels/attention.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string_view>

#include "kernels/attention_backward.h"
#include "kernels/attention_forward.h"

namespace precis::kernels {

namespace {

// As libtorch's own variable has it: default, avx2, avx512.
bool may_use_avx512() {
  const char* limit = std::getenv("ATEN_CPU_CAPABILITY");
  return limit == nullptr || std::string_view(limit).starts_with("avx512");
}

bool has_products(at::ScalarType type) {
#if defined(__x86_64__)
  static const bool wide = may_use_avx512() && __builtin_cpu_supports("avx512f") &&
                           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                           __builtin_cpu_supports("avx512vl");
  static const bool pairs = __builtin_cpu_supports("avx512bf16");
  return wide && (type == at::kFloat || (type == at::kBFloat16 && pairs));
#else
  return false;
#endif
}

template <typename Visit>
void with_type_of(const at::Tensor& x, const Visit& visit) {
  if (x.scalar_type() == at::kBFloat16) {
    visit(c10::BFloat16());
  } else {
    visit(0.0F);
  }
}

template <typename Value>
ForwardCall<Value> forward_call(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                const AttentionSettings& settings) {
  return {query.size(0),
          query.size(1),
          query.size(2),
          key.size(2),
          query.size(3),
          Heads<const Value>(query),
          Heads<const Value>(key),
          Heads<const Value>(value),
          settings,
          true};
}

}  // namespace

bool has_attention(at::ScalarType type, at::Device device, int64_t head_width) {
  return device.is_cpu() && has_products(type) && head_width % kLanes == 0;
}

Attended attention(const at::Tensor& query_BHSE, const at::Tensor& key_BHTE, const at::Tensor& value_BHTE,
                   const AttentionSettings& settings) {
  const int64_t B = query_BHSE.size(0), H = query_BHSE.size(1), S = query_BHSE.size(2),
                E = query_BHSE.size(3);
  Attended result{at::empty({B, S, H, E}, query_BHSE.options().requires_grad(false)).transpose(1, 2),
                  at::empty({B, H, S}, at::kFloat)};
  with_type_of(query_BHSE, [&](auto type) {
    using Value = decltype(type);
    auto call = forward_call<Value>(query_BHSE, key_BHTE, value_BHTE, settings);
    const Heads<Value> output(result.output_BHSE);
    call.output = &output;
    call.lse = result.lse_BHS.mutable_data_ptr<float>();
    attend(call);
  });
  return result;
}

void AttentionFold::fold(const at::Tensor& query_BHSE, const at::Tensor& key_BHTE,
                         const at::Tensor& value_BHTE, const AttentionSettings& settings) {
  const bool first = !output_BHSE_.defined();
  if (first) {
    output_BHSE_ = at::empty(query_BHSE.sizes(), at::kFloat);
    maximum_BHS_ = at::empty(query_BHSE.sizes().slice(0, 3), at::kFloat);
    total_BHS_ = at::empty_like(maximum_BHS_);
  }
  kept_ = static_cast<float>(1.0 / (1.0 - settings.dropout));
  with_type_of(query_BHSE, [&](auto type) {
    auto call = forward_call<decltype(type)>(query_BHSE, key_BHTE, value_BHTE, settings);
    call.first = first;
    call.sums = output_BHSE_.mutable_data_ptr<float>();
    call.maxima = maximum_BHS_.mutable_data_ptr<float>();
    call.totals = total_BHS_.mutable_data_ptr<float>();
    attend(call);
  });
}

at::Tensor AttentionFold::output() {
  const at::Tensor share = total_BHS_.reciprocal().mul_(kept_).masked_fill_(total_BHS_.eq(0), 0.0);
  return output_BHSE_.mul_(share.unsqueeze(-1));
}

at::Tensor AttentionFold::lse() const { return maximum_BHS_.div(kLog2E).add_(total_BHS_.log()); }

at::Tensor row_products(const at::Tensor& a_BHSE, const at::Tensor& b_BHSE) {
  const int64_t H = a_BHSE.size(1), S = a_BHSE.size(2), E = a_BHSE.size(3);
  const at::Tensor sums = at::empty(a_BHSE.sizes().slice(0, 3), at::kFloat);
  float* to = sums.mutable_data_ptr<float>();
  with_type_of(a_BHSE, [&](auto type) {
    using Value = decltype(type);
    const Heads<const Value> a(a_BHSE), b(b_BHSE);
    at::parallel_for(0, sums.numel(), 1024, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Value* x = a.at(i / (H * S), i / S % H, i % S);
        const Value* y = b.at(i / (H * S), i / S % H, i % S);
        float sum = 0.0F;
        for (int64_t e = 0; e < E; ++e) sum += static_cast<float>(x[e]) * static_cast<float>(y[e]);
        to[i] = sum;
      }
    });
  });
  return sums;
}

void attention_gradients(const at::Tensor& query_BHSE, const at::Tensor& key_BHTE,
                         const at::Tensor& value_BHTE, const AttentionGradientInput& input,
                         const AttentionSettings& settings, const AttentionGradients& gradients) {
  with_type_of(query_BHSE, [&](auto type) {
    using Value = decltype(type);
    BackwardCall<Value> call{query_BHSE.size(0),
                             query_BHSE.size(1),
                             query_BHSE.size(2),
                             key_BHTE.size(2),
                             query_BHSE.size(3),
                             Heads<const Value>(query_BHSE),
                             Heads<const Value>(key_BHTE),
                             Heads<const Value>(value_BHTE),
                             Heads<const Value>(input.d_output_BHSE),
                             input.lse_BHS.const_data_ptr<float>(),
                             input.delta_BHS.const_data_ptr<float>(),
                             settings};
    std::optional<Heads<float>> d_query;
    std::optional<Heads<Value>> d_key, d_value;
    if (gradients.d_query_BHSE.defined()) call.d_query = &d_query.emplace(gradients.d_query_BHSE);
    if (gradients.d_key_BHTE.defined()) {
      call.d_key = &d_key.emplace(gradients.d_key_BHTE);
      call.d_value = &d_value.emplace(gradients.d_value_BHTE);
    }
    add_gradients(call);
  });
}

}  // namespace precis::kernels

// Cross-attention with held keys and values, and the choice between the ways.
#include "memory/cross_attention.h"

#include <algorithm>
#include <cmath>

#include "memory/absorbed_attention.h"
#include "memory/cross_block.h"
#include "nn/attention.h"
#include "nn/linear.h"

namespace precis::memory {

bool MemoryBatch::padded() const {
  return std::any_of(rows_B.begin(), rows_B.end(),
                     [this](int64_t rows) { return rows != states_BTM.size(1); });
}

HeldCrossAttention::HeldCrossAttention(MemoryBatch memory) : memory_(std::move(memory)) {
  mask_B11T_ = nn::key_mask(memory_.rows_B, memory_.states_BTM.size(1), memory_.states_BTM.device());
}

at::Tensor HeldCrossAttention::attend(int64_t layer, const at::Tensor& query_BSD,
                                      const nn::CrossProjection& projection, const nn::Dropout& dropout) {
  TORCH_INTERNAL_ASSERT(dropout.rows.empty() || dropout.attention == 0);
  Projected& held = layers_[layer];
  if (!held.key_BHTE.defined()) {
    const auto project = [&](const at::Tensor& weight_DM, const at::Tensor& bias_D) {
      return nn::split_heads(nn::linear(memory_.states_BTM, weight_DM, bias_D), projection.heads);
    };
    held.key_BHTE = project(projection.key_weight_DM, projection.key_bias_D);
    held.value_BHTE = project(projection.value_weight_DM, projection.value_bias_D);
  }
  return nn::join_heads(nn::attention(nn::split_heads(query_BSD, projection.heads), held.key_BHTE,
                                      held.value_BHTE, {.keys_B11K = mask_B11T_}, {}, 0));
}

DecodingCrossAttention::DecodingCrossAttention(MemoryBatch memory, int64_t held_layers)
    : memory_(memory), held_(std::move(memory)), held_layers_(held_layers) {}

at::Tensor DecodingCrossAttention::attend_packed(const Packed& layer, const at::Tensor& query_BSD,
                                                 int64_t heads) const {
  const int64_t B = query_BSD.size(0), S = query_BSD.size(1), E = query_BSD.size(2) / heads;
  const int64_t T = memory_.states_BTM.size(1);
  const at::Tensor query_NSE = nn::split_heads(query_BSD.to(at::kFloat), heads)
                                   .mul(1.0 / std::sqrt(static_cast<double>(E)))
                                   .reshape({B * heads, S, E});
  const at::Tensor scores_NST = nn::packed_linear(query_NSE, layer.keys, at::Tensor());
  if (memory_.padded()) rule_out_padding(scores_NST.view({B, heads, S, T}), memory_.rows_B, 0);
  const at::Tensor context_NSE = nn::packed_linear(scores_NST.softmax(-1), layer.values, at::Tensor());
  return nn::join_heads(context_NSE.view({B, heads, S, E})).to(query_BSD.scalar_type());
}

at::Tensor DecodingCrossAttention::attend(int64_t layer, const at::Tensor& query_BSD,
                                          const nn::CrossProjection& projection, const nn::Dropout& dropout) {
  if (layer >= held_layers_) return absorbed_attention(memory_, query_BSD, projection);
  if (!nn::can_pack(memory_.states_BTM)) return held_.attend(layer, query_BSD, projection, dropout);
  Packed& packed = packed_layers_[layer];
  if (!packed.keys.defined()) {
    const auto project = [&](const at::Tensor& weight_DM, const at::Tensor& bias_D) {
      return nn::split_heads(nn::linear(memory_.states_BTM, weight_DM, bias_D), projection.heads)
          .flatten(0, 1);
    };
    packed.keys = nn::pack_weight(project(projection.key_weight_DM, projection.key_bias_D));
    packed.values =
        nn::pack_weight(project(projection.value_weight_DM, projection.value_bias_D).transpose(1, 2));
  }
  return attend_packed(packed, query_BSD, projection.heads);
}

}  // namespace precis::memory

// Cross-attention with held keys and values, and the choice between the ways.
#include "memory/cross_attention.h"

#include <algorithm>
#include <cmath>

#include "memory/absorbed_attention.h"
#include "memory/streamed_attention.h"
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
  if (!dropout.rows.empty() && dropout.attention > 0) {
    // The library's fused attention takes no dropout; the streamed one does, in bounded memory.
    return streamed_attention(memory_, query_BSD, projection, dropout, layer, 0);
  }
  Projected& held = layers_[layer];
  if (!held.key_BHTE.defined()) {
    const auto project = [&](const at::Tensor& weight_DM, const at::Tensor& bias_D) {
      const at::Tensor heads =
          nn::split_heads(nn::linear(memory_.states_BTM, weight_DM, bias_D), projection.heads);
      // Decoding reads them once a token: each head's rows side by side.
      return at::GradMode::is_enabled() ? heads : heads.contiguous();
    };
    held.key_BHTE = project(projection.key_weight_DM, projection.key_bias_D);
    held.value_BHTE = project(projection.value_weight_DM, projection.value_bias_D);
  }
  const std::optional<at::Tensor> mask =
      mask_B11T_.defined() ? std::optional<at::Tensor>(mask_B11T_) : std::nullopt;
  return nn::join_heads(at::scaled_dot_product_attention(nn::split_heads(query_BSD, projection.heads),
                                                         held.key_BHTE, held.value_BHTE, mask));
}

DecodingCrossAttention::DecodingCrossAttention(MemoryBatch memory, int64_t held_layers)
    : memory_(memory), held_(std::move(memory)), held_layers_(held_layers) {}

at::Tensor DecodingCrossAttention::attend(int64_t layer, const at::Tensor& query_BSD,
                                          const nn::CrossProjection& projection, const nn::Dropout& dropout) {
  if (layer < held_layers_) return held_.attend(layer, query_BSD, projection, dropout);
  return absorbed_attention(memory_, query_BSD, projection);
}

std::unique_ptr<nn::CrossAttention> attention_over(MemoryBatch memory, bool streamed) {
  if (streamed) return std::make_unique<StreamedCrossAttention>(std::move(memory));
  return std::make_unique<HeldCrossAttention>(std::move(memory));
}

StreamedCrossAttention::StreamedCrossAttention(MemoryBatch memory, int64_t block_rows)
    : memory_(std::move(memory)), block_rows_(block_rows) {}

at::Tensor StreamedCrossAttention::attend(int64_t layer, const at::Tensor& query_BSD,
                                          const nn::CrossProjection& projection, const nn::Dropout& dropout) {
  return streamed_attention(memory_, query_BSD, projection, dropout, layer, block_rows_);
}

}  // namespace precis::memory

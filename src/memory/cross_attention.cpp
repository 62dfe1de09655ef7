// Cross-attention with held keys and values.
#include "memory/cross_attention.h"

#include <algorithm>
#include <cmath>

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
    held.key_BHTE = nn::split_heads(
        nn::linear(memory_.states_BTM, projection.key_weight_DM, projection.key_bias_D), projection.heads);
    held.value_BHTE =
        nn::split_heads(nn::linear(memory_.states_BTM, projection.value_weight_DM, projection.value_bias_D),
                        projection.heads);
    if (!at::GradMode::is_enabled()) {  // decoding reads them once a token: heads side by side in memory
      held.key_BHTE = held.key_BHTE.contiguous();
      held.value_BHTE = held.value_BHTE.contiguous();
    }
  }
  const std::optional<at::Tensor> mask =
      mask_B11T_.defined() ? std::optional<at::Tensor>(mask_B11T_) : std::nullopt;
  return nn::join_heads(at::scaled_dot_product_attention(nn::split_heads(query_BSD, projection.heads),
                                                         held.key_BHTE, held.value_BHTE, mask));
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

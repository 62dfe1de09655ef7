// How a decoder layer is handed what it attends to: the model knows the weights, the memory
// layer knows how the states are held (kept, streamed, shared by beams).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "nn/dropout.h"

namespace precis::nn {

// Dropout site of the cross-attention's probabilities (see dropout_site).
inline constexpr uint64_t kCrossAttentionSite = 1000;

// B documents, S query positions, D decoder width, M memory width, H heads, E = D / H.
struct CrossProjection {
  at::Tensor key_weight_DM;
  at::Tensor key_bias_D;
  at::Tensor value_weight_DM;
  at::Tensor value_bias_D;
  int64_t heads = 0;
};

class CrossAttention {
 public:
  virtual ~CrossAttention() = default;

  // query_BSD: projected, not yet scaled. Returns the context [B, S, D] before the output projection:
  // softmax(q K' / sqrt(E)) V over the rows of each document's memory, heads side by side.
  // `dropout` falls on the attention probabilities with `attention`, keyed by its rows.
  virtual at::Tensor attend(int64_t layer, const at::Tensor& query_BSD, const CrossProjection& projection,
                            const Dropout& dropout) = 0;
};

}  // namespace precis::nn

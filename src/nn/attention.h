// Self-attention over a batch of padded rows.
// Letters: B rows, S positions, D width, H heads, E = D / H.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "nn/dropout.h"

namespace precis::nn {

struct AttentionMask {
  bool causal = false;
  // [B, 1, 1, keys] bool, true where a key is attended to; undefined where nothing is padded. Not with
  // `causal`: padding at the end of a causal row is never seen by what precedes it.
  at::Tensor keys_B11K;
};

// [B, S, D] -> [B, H, S, E], a view.
at::Tensor split_heads(const at::Tensor& x_BSD, int64_t heads);
// [B, H, S, E] -> [B, S, D].
at::Tensor join_heads(const at::Tensor& x_BHSE);

// softmax(q k' / sqrt(E)) v, [B, H, S, E]. Without attention dropout the library's fused kernel; with it the
// probabilities are made, [B, H, S, keys], and dropped by counter at `site`.
at::Tensor attention(const at::Tensor& query_BHSE, const at::Tensor& key_BHKE, const at::Tensor& value_BHKE,
                     const AttentionMask& mask, const Dropout& dropout, uint64_t site);

// Bool [B, 1, 1, positions] from row lengths; undefined where every row is full.
at::Tensor key_mask(const std::vector<int64_t>& lengths_B, int64_t positions, at::Device device);

}  // namespace precis::nn

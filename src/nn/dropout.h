// Dropout by counter (methods: CachED, "Also"): a mask is a pure function of a row's key, the
// site and the element's place in the row, so that a pass replays exactly in any order and packing.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace precis::nn {

// The dropout of one forward pass over a batch of B rows (windows or documents).
struct Dropout {
  double hidden = 0.0;      // `dropout`
  double attention = 0.0;   // `attention_dropout`
  double activation = 0.0;  // `activation_dropout`
  // One key a row, made of (seed, step, document, window); empty means evaluation: no dropout at all.
  std::vector<uint64_t> rows;
};

// Names a place in the network; `layer` counts from 0, `site` is one of the constants in the model's file.
uint64_t dropout_site(uint64_t site, uint64_t layer);

// x [B, ..., M, N] of any rank from 2 to 4 with one key a row: zeroed with probability p, else divided by 1 -
// p. The mask of element (b, h, m, n) depends on (rows[b], site, h, m, n) alone, never on the sizes of the
// padding. Differentiable: the backward pass draws the same mask again and keeps nothing of x's size but the
// result. Returns x itself where p is 0 or `rows` is empty.
at::Tensor dropout(const at::Tensor& x, double p, const std::vector<uint64_t>& rows, uint64_t site);

// The same masks as factors, 0 or 1 / (1 - p), for rows [B, H, M, N] whose first column stands for column
// `first_column` of the row: what a pass over blocks of columns needs.
at::Tensor dropout_factors(at::IntArrayRef sizes_BHMN, double p, const std::vector<uint64_t>& rows,
                           uint64_t site, int64_t first_column, const at::TensorOptions& options);

}  // namespace precis::nn

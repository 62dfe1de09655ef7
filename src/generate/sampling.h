// The filters of sampling, and draws that are a pure function of what they are for: results do not depend on
// batches, threads or the order of documents in them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "generate/generation_config.h"

namespace precis::generate {

// transformers' temperature, top_h, top_k, top_p, min_p, typical_p, epsilon_cutoff and eta_cutoff, in its
// order, over float32 scores, changed in place: what is left out becomes -inf. At least `least` tokens are
// kept (top_h keeps one).
void filter(const Sampling& sampling, int64_t least, at::Tensor& scores_RV);

// Names a draw: everything that it may depend on besides the distribution.
struct Draw {
  uint64_t seed = 0;
  uint64_t document = 0;
  uint64_t position = 0;  // ids written before it

  // Of one sequence of the document's several.
  uint64_t key(uint64_t sequence) const;
};

// A token with the probability softmax(scores_V) gives it. scores_V: float32 on the CPU, -inf where ruled
// out. Where the greatest score is not finite, its place.
int64_t draw_token(const at::Tensor& scores_V, uint64_t key);

// `count` different places of scores_N, drawn one after another without replacement from softmax(scores_N),
// in the order of the draws (Gumbel top-k: Kool, van Hoof and Welling 2019). Places of probability 0 fill up
// where too few have any; scores of +inf or NaN come first. count <= N.
std::vector<int64_t> draw_places(const at::Tensor& scores_N, int64_t count, uint64_t key);

}  // namespace precis::generate

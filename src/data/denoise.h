// The noise of BART's own pre-training (Lewis et al. 2020, section 2): sentences in another order, then spans
// of tokens replaced by a mask each (text infilling).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"

namespace precis {

struct DenoiseOptions {
  double mask_ratio = 0.3;         // of the tokens, in [0, 1]
  double poisson_lambda = 3.0;     // mean length of a span before it is cut to what is left, in [0.1, 100]
  double permute_sentences = 1.0;  // of the sentences, in [0, 1]
  int32_t mask_id = 0;
};

// Lengths of spans that hold `tokens` tokens together, each drawn from a Poisson distribution, in any order.
// The one that would pass the sum is cut. A length of 0 is a mask put in where nothing was; there are no more
// of those than leave at most `tokens` spans, so that a noised text is never longer than the text.
std::vector<int64_t> draw_spans(int64_t tokens, double poisson_lambda, CounterRandom& random);

// The noised text, a pure function of its arguments. `sentence_begins`: the place of each sentence's first
// token, rising from 0; empty for no ids. Of n tokens round(mask_ratio * n) are masked; wherever the spans
// fall among the others is as likely. Of s sentences round(permute_sentences * s), drawn at random, change
// places among themselves.
std::vector<int32_t> add_noise(std::span<const int32_t> ids, std::span<const int32_t> sentence_begins,
                               const DenoiseOptions& options, uint64_t key);

}  // namespace precis

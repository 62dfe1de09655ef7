// How much of the decoder's attention each row of a memory got while stretches of a summary were written.
// Letters: G groups of tokens, T memory rows.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "generate/logits_rules.h"
#include "memory/cross_attention.h"
#include "models/bart/bart.h"

namespace precis::generate {

// Places [begin, end) in a sequence of tokens.
struct TokenRange {
  int64_t begin = 0;
  int64_t end = 0;
};

// Runs the decoder over `tokens` once more, every token given, and returns the mean over layers, heads and
// the steps that wrote a group's tokens of the cross-attention's probabilities: [G, T], float64, each row a
// distribution over the memory. `memory` holds one document; groups lie within [1, tokens.size()) and none is
// empty. One layer's keys and values are held at a time, and probabilities for a few steps of one head.
at::Tensor attention_mass(const models::BartModel& model, const memory::MemoryBatch& memory,
                          const TokenSequence& tokens, const std::vector<TokenRange>& groups);

}  // namespace precis::generate

// What may not, or must, be written next: transformers' logits processors of the settings that are built, in
// its order (no_repeat_ngram_size, min_length, forced_bos_token_id, forced_eos_token_id). Letters: R rows
// (beams of all documents), V vocabulary.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "generate/generation_config.h"

namespace precis::generate {

// The ids a row has written so far, start token included.
using TokenSequence = std::vector<int32_t>;

class LogitsRules {
 public:
  explicit LogitsRules(const GenerationConfig& config) : config_(config) {}

  // scores_RV: float32 logits (greedy search) or log-probabilities (beam search), changed in place: what is
  // ruled out becomes -inf; where tokens are forced, they become 0 and all else -inf. The rows are of one
  // length.
  void apply(std::span<const TokenSequence* const> rows_R, at::Tensor& scores_RV) const;

  // The tokens that must follow a row of `length` ids; empty: any.
  std::vector<int64_t> forced(int64_t length) const;

 private:
  GenerationConfig config_;
};

// The tokens that would complete an n-gram of `size` a second time.
std::vector<int64_t> repeating_tokens(const TokenSequence& row, int64_t size);

}  // namespace precis::generate

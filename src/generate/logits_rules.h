// What may not, or must, be written next, and what is made likelier: transformers' logits processors, in its
// order (sequence_bias, encoder_repetition_penalty, repetition_penalty, no_repeat_ngram_size,
// encoder_no_repeat_ngram_size, bad_words_ids, min_length, forced_bos_token_id, forced_eos_token_id,
// exponential_decay_length_penalty, suppress_tokens, begin_suppress_tokens, the filters of sampling,
// renormalize_logits). Letters: R rows (beams or sequences of all documents), V vocabulary.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "generate/generation_config.h"
#include "generate/ngram_index.h"

namespace precis::generate {

// The ids a row has written so far, start token included.
using TokenSequence = std::vector<int32_t>;

class LogitsRules {
 public:
  // read_B: for each document its ids as the encoder read them, looked at where config.reads_document(); may
  // be empty where it does not.
  explicit LogitsRules(const GenerationConfig& config, std::vector<TokenSequence> read_B = {});

  // scores_RV: float32 logits (greedy search, sampling) or log-probabilities (with beams), changed in place:
  // what is ruled out becomes -inf; where tokens are forced, they become 0 and all else -inf. The rows are of
  // one length, and equally many for each of `documents`, the live ones, in their order.
  void apply(std::span<const TokenSequence* const> rows_R, std::span<const int64_t> documents,
             at::Tensor& scores_RV) const;

  // The tokens that must follow a row of `length` ids; empty: any.
  std::vector<int64_t> forced(int64_t length) const;

 private:
  struct Rows;
  void apply_to_unforced(const Rows& rows, at::Tensor& scores_RV) const;

  GenerationConfig config_;
  std::vector<std::vector<int64_t>> read_ids_B_;  // distinct ones
  std::vector<NgramIndex> read_ngrams_B_;
};

// The tokens that would complete an n-gram of `size` a second time.
std::vector<int64_t> repeating_tokens(const TokenSequence& row, int64_t size);

}  // namespace precis::generate

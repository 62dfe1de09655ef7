// Sums of shapes.
#include "memory/plan_terms.h"

#include <algorithm>

#include "memory/cross_block.h"

namespace precis::memory {

int64_t encoder_call_elements(const models::BartConfig& config, int64_t positions) {
  return positions * (6 * config.d_model + 2 * config.encoder_ffn_dim);
}

int64_t held_elements(const models::BartConfig& config, int64_t rows, int64_t layers) {
  return layers == 0 ? 0 : (2 * layers + 1) * rows * config.d_model;
}

int64_t sequence_elements(const models::BartConfig& config, int64_t sequences, int64_t max_length) {
  return sequences * (2 * max_length * config.d_model * (config.decoder_layers + 1) + 4 * config.vocab_size);
}

int64_t absorbed_block_elements(const models::BartConfig& config, int64_t longest_rows, int64_t documents,
                                int64_t sequences) {
  const int64_t scores = sequences * config.decoder_attention_heads;
  const int64_t rows = std::min(longest_rows, rows_of_a_block(scores));
  return 3 * rows * scores + 2 * rows * config.d_model * documents;
}

}  // namespace precis::memory

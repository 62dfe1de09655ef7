// Terms that the plans of training (plan.h) and of decoding (decode_plan.h) share, in elements of the type
// that products are made in. None of them has a graph.
#pragma once

#include <cstdint>

#include "models/bart/bart_config.h"

namespace precis::memory {

// Of one encoder call of so many positions, padding included, at its widest: states, q, k, v, sums, the
// feed-forward.
int64_t encoder_call_elements(const models::BartConfig& config, int64_t positions);

// Keys and values of so many memory rows in `layers` decoder layers; a layer's keys are laid out again for
// decoding before its values are made.
int64_t held_elements(const models::BartConfig& config, int64_t rows, int64_t layers);

// What is written at once: the cache of `sequences` of `max_length`, a layer of it twice while it is
// reordered, and the scores of their next tokens.
int64_t sequence_elements(const models::BartConfig& config, int64_t sequences, int64_t max_length);

// A block of absorbed attention of so many sequences of `documents` documents, the longest of `longest_rows`
// memory rows: scores with what is derived from them, and the states where they are raised to float32.
int64_t absorbed_block_elements(const models::BartConfig& config, int64_t longest_rows, int64_t documents,
                                int64_t sequences);

}  // namespace precis::memory

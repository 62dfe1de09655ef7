// The backward pass on plain memory.
#pragma once

#include "kernels/attention_blocks.h"

namespace precis::kernels {

template <typename Value>
struct BackwardCall {
  int64_t B, H, S, T, E;
  Heads<const Value> query, key, value, d_output;
  const float *lse, *delta;  // [B, H, S]
  const AttentionSettings& settings;
  // Null: not wanted.
  const Heads<float>* d_query = nullptr;                   // added to
  const Heads<Value>*d_key = nullptr, *d_value = nullptr;  // both or neither
};

void add_gradients(const BackwardCall<c10::BFloat16>& call);
void add_gradients(const BackwardCall<float>& call);

}  // namespace precis::kernels

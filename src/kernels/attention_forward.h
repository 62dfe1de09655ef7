// The forward pass on plain memory.
#pragma once

#include "kernels/attention_blocks.h"

namespace precis::kernels {

template <typename Value>
struct ForwardCall {
  int64_t B, H, S, T, E;
  Heads<const Value> query, key, value;
  const AttentionSettings& settings;
  bool first;  // nothing was folded before
  // The sums [B, H, S, E], maxima and totals [B, H, S] so far, read unless `first`, and written.
  float* sums = nullptr;
  float* maxima = nullptr;
  float* totals = nullptr;
  // Or, where these are the only keys, the result, and the log-sum-exp in place of the totals.
  const Heads<Value>* output = nullptr;
  float* lse = nullptr;
};

void attend(const ForwardCall<c10::BFloat16>& call);
void attend(const ForwardCall<float>& call);

}  // namespace precis::kernels

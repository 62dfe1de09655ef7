// Cross-attention straight over the encoder's states: the key projection is absorbed into the query and the
// value projection into the result, (q Wk) H' and (p H) Wv, so that no layer's keys and values are made
// (Yan et al. 2021, EL-attention; methods: CachED). Exact, and H times the arithmetic of held keys and
// values.
#pragma once

#include <ATen/ATen.h>

#include "memory/cross_attention.h"
#include "nn/cross_attention.h"

namespace precis::memory {

// As nn::CrossAttention::attend, without dropout or gradient. Reads the states once, in blocks of rows;
// beside them it holds a block's scores. 16-bit types are scored in float32.
at::Tensor absorbed_attention(const MemoryBatch& memory, const at::Tensor& query_BSD,
                              const nn::CrossProjection& projection);

}  // namespace precis::memory

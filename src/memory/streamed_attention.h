// Attention of decoder queries over blocks of a memory, as an autograd function (methods: CachED, Streaming
// cross-attention): forward keeps the output and the log-sum-exp, backward projects and scores each block
// again.
#pragma once

#include <ATen/ATen.h>

#include "memory/cross_attention.h"
#include "nn/cross_attention.h"

namespace precis::memory {

// As nn::CrossAttention::attend. Differentiable in the query, the states and the projection. `block_rows`
// memory rows at a time; 0 is rows_of_a_block(). 16-bit types are scored in float32.
at::Tensor streamed_attention(const MemoryBatch& memory, const at::Tensor& query_BSD,
                              const nn::CrossProjection& projection, const nn::Dropout& dropout,
                              int64_t layer, int64_t block_rows);

// Memory rows of a block where each has `scores_a_row` scores (queries * heads): few enough that neither the
// scores nor the keys and values of a block weigh much, and enough for fast matrix products.
int64_t rows_of_a_block(int64_t scores_a_row);

// The type of scores and sums: float32 for the 16-bit types, else the type itself.
at::ScalarType score_type(at::ScalarType type);

// -inf, in place, where a row of the block that starts at memory row `begin` is not the document's own.
void rule_out_padding(at::Tensor scores_BHSt, const std::vector<int64_t>& rows_B, int64_t begin);

}  // namespace precis::memory

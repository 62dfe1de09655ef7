// Attention of decoder queries over blocks of a memory, as an autograd function (methods: CachED, Streaming
// cross-attention): forward keeps the output and the log-sum-exp, backward projects and scores each block
// again. The memory's own gradient does not pass through the graph: it would be as large as the memory for
// every layer. It goes where a StatesGradient says.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "memory/cross_attention.h"
#include "memory/cross_block.h"
#include "nn/cross_attention.h"

namespace precis::memory {

// What the backward pass leaves behind besides the gradient of the query.
struct StatesGradient {
  // A layer whose keys, values and states are to get their gradient later (methods: CachED, Two-sweep).
  struct Layer {
    CrossQueries queries;
    QueryGradients gradients;
    nn::CrossProjection projection;
  };

  // Defined: the layers' gradients of the states are added to it, [B, T, M] in the type of scores, and those
  // of the projection go through the graph.
  at::Tensor sum_BTM;
  // Else: the layers that the backward pass went through.
  std::vector<Layer> layers;
};

// As nn::CrossAttention::attend. Differentiable in the query and the projection where `states_gradient` is
// given, and not at all where it is null. `block_rows` memory rows at a time; 0 is rows_of_a_block(). 16-bit
// types are scored in float32.
at::Tensor streamed_attention(const MemoryBatch& memory, const at::Tensor& query_BSD,
                              const nn::CrossProjection& projection, const nn::Dropout& dropout,
                              int64_t layer, int64_t block_rows,
                              std::shared_ptr<StatesGradient> states_gradient = nullptr);

}  // namespace precis::memory

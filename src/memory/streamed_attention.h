// Attention of decoder queries over blocks of a memory, as an autograd function (methods: CachED, Streaming
// cross-attention): forward keeps the output and the log-sum-exp, backward scores each block again. Neither
// the memory's gradient nor that of its keys' and values' projection passes through the graph: the one would
// be as large as the memory for every layer. A CrossTape takes them.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "memory/cross_block.h"
#include "memory/encode_schedule.h"
#include "memory/states_store.h"
#include "nn/cross_attention.h"
#include "parallel/communicator.h"

namespace precis::memory {

// What the decoder's two passes over a memory leave.
struct CrossTape {
  // A layer whose keys, values and states are to get their gradient later (methods: CachED, Two-sweep).
  struct Layer {
    CrossQueries queries;
    QueryGradients gradients;
    nn::CrossProjection projection;
  };

  CrossTape(CrossMode mode, const at::Tensor& sum_BTM, parallel::Communicator& ranks = parallel::one_rank());

  CrossMode mode;
  // Each of them has a part of the memory's rows, and the same queries.
  parallel::Communicator& ranks;
  // Held and streamed: the layers' gradients of the states are added to it, [B, T, M] in the type of scores,
  // and those of the projection to the parameters' `.grad`.
  at::Tensor sum_BTM;
  // Two-sweep: the layers that the backward pass went through.
  std::vector<Layer> layers;
  // Makes the backward pass go through every layer, whatever else wants a gradient. A scalar.
  at::Tensor anchor;
};

// As nn::CrossAttention::attend. Differentiable in the query, where there is a tape, and not at all without
// one. `block_rows` memory rows at a time; 0 is rows_of_a_block(). 16-bit types are scored in float32.
at::Tensor streamed_attention(const MemorySource& memory, const at::Tensor& query_BSD,
                              const nn::CrossProjection& projection, const nn::Dropout& dropout,
                              int64_t layer, int64_t block_rows, std::shared_ptr<CrossTape> tape = nullptr);

// Projects K and V block by block and folds them in with an online softmax. No layer's K or V is held for all
// T, unless the tape says so.
class StreamedCrossAttention : public nn::CrossAttention {
 public:
  explicit StreamedCrossAttention(MemorySource memory, std::shared_ptr<CrossTape> tape = nullptr,
                                  int64_t block_rows = 0);
  at::Tensor attend(int64_t layer, const at::Tensor& query_BSD, const nn::CrossProjection& projection,
                    const nn::Dropout& dropout) override;

 private:
  MemorySource memory_;
  std::shared_ptr<CrossTape> tape_;
  int64_t block_rows_;
};

}  // namespace precis::memory

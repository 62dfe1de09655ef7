// The memory of a pack of documents in training: how the decoder attends to it, and how its gradient comes
// back to the windows it was made of. Every mode gives the same gradient (methods: CachED, The dial).
// Letters: B documents, T memory rows, M memory width, R kept rows of an encoder call.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <vector>

#include "memory/encode_schedule.h"
#include "memory/packs.h"
#include "memory/states_store.h"
#include "memory/streamed_attention.h"
#include "nn/cross_attention.h"

namespace precis::memory {

class MemoryGradient {
 public:
  // `states` hold the memory of `pack`; `products` is the type that the decoder multiplies in. Each of
  // `ranks` has a part of the pack's documents (packs.h).
  MemoryGradient(CrossMode mode, const DocumentPack& pack, at::ScalarType products,
                 std::unique_ptr<StatesStore> states, parallel::Communicator& ranks);

  // Once, and first: decodes with what it gives `objective`, and back-propagates the scalar that comes of it.
  // All ranks do, and get the same; the gradient of what is not the memory's goes to the leader's `.grad`
  // alone. The memory's states, keys and values are given back when it returns.
  void back_propagate(const std::function<at::Tensor(nn::CrossAttention&)>& objective);

  // Of the objective by the states that an encoder call put into the memory, [R, M] in their type.
  // `states_RM` holds them, detached. What the keys' and values' projection gets from them is then in `.grad`
  // too.
  at::Tensor of(const at::Tensor& states_RM, const EncoderPack& windows) const;

 private:
  // The second sweep.
  at::Tensor made_again(const at::Tensor& states_RM, const EncoderPack& windows) const;

  std::vector<int64_t> rows_B_, first_row_B_;
  int64_t max_rows_;
  std::unique_ptr<StatesStore> states_;
  at::ScalarType stored_;
  std::shared_ptr<CrossTape> tape_;
};

}  // namespace precis::memory

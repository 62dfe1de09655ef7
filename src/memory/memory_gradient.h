// The memory of a pack of documents in training: how the decoder attends to it, and how its gradient comes
// back to the windows it was made of. One class a way; all give the same gradient (methods: CachED, The
// dial). Letters: B documents, T memory rows, M memory width, R kept rows of an encoder call.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>

#include "memory/cross_attention.h"
#include "memory/encode_schedule.h"
#include "memory/packs.h"
#include "nn/cross_attention.h"

namespace precis::memory {

class MemoryGradient {
 public:
  virtual ~MemoryGradient() = default;

  // Once, and first: decodes with what it gives `objective`, and back-propagates the scalar that comes of it.
  // The memory's states, keys and values are given back when it returns.
  void back_propagate(const std::function<at::Tensor(nn::CrossAttention&)>& objective);

  // Of the objective by the states that an encoder call put into the memory, [R, M] in their type.
  // `states_RM` holds them, detached. What the keys' and values' projection gets from them is then in `.grad`
  // too.
  virtual at::Tensor of(const at::Tensor& states_RM, const EncoderPack& windows) = 0;

 protected:
  // Takes the memory with it.
  virtual std::unique_ptr<nn::CrossAttention> attention() = 0;
  virtual void after_decoder() {}
};

std::unique_ptr<MemoryGradient> memory_gradient(CrossMode mode, MemoryBatch memory);

}  // namespace precis::memory

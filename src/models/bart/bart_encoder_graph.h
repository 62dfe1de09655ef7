// The encoder's layers with a backward pass written by hand, so that what is kept for it can be chosen:
// autograd keeps every tensor that an operation reads (docs/decisions/0018). Letters as in bart_layers.h.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "models/bart/bart_layers.h"

namespace precis::models {

// What is kept of a forward pass until its backward pass. kFull and kLean give the same gradient bit for bit,
// and kAutograd the same but for rounding.
enum class EncoderGraph {
  kAutograd,  // autograd's own
  kFull,      // of each layer queries, keys, values, the attention's result, the inner state, the sums before
              // norms
  kLean,      // the attention's result and the sum before the last norm: two thirds of the products are made
              // again
};

// States [B, S, D] after all layers. `states_BSD` needs a gradient. The backward pass adds the layers'
// parameters' gradient to their `.grad`, and is called once; `layers` outlive it.
at::Tensor encode_with_graph(const std::vector<EncoderLayer>& layers, const at::Tensor& states_BSD,
                             const nn::AttentionMask& mask, const nn::Dropout& dropout, EncoderGraph graph);

}  // namespace precis::models

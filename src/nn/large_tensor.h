// Tensors of megabytes that are read often, weights above all, on pages of 2 MiB where the system gives them:
// fewer page faults when they are filled, fewer misses of the address cache when they are read through.
#pragma once

#include <ATen/ATen.h>

namespace precis::nn {

// As at::empty() on the CPU; small ones are that. Several may share a block, which is freed with the last of
// them.
at::Tensor empty_large(at::IntArrayRef sizes, at::ScalarType type);

}  // namespace precis::nn

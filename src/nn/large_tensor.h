// Tensors of megabytes that are read often, on pages of 2 MiB where the system gives them: fewer page faults
// when they are filled, fewer misses of the address cache when they are read through.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace precis::nn {

// As at::empty() on the CPU; small ones are that.
at::Tensor empty_large(at::IntArrayRef sizes, at::ScalarType type);

// The same for a model's weights, most of which are too small for a page of their own: they share blocks of
// memory, each of which is freed with the last of its tensors.
at::Tensor empty_weight(at::IntArrayRef sizes, at::ScalarType type);
// Behind the last row of a large weight [rows, columns] is memory for as many as make their number a multiple
// of this.
inline constexpr int64_t kRowMultiple = 16;

}  // namespace precis::nn

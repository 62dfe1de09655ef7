// Products of few rows with weights in oneDNN's own layout. The general matrix product reads a weight several
// times where a decoder step has a handful of rows; this one reads it once (docs/results/benchmarks.md).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace precis::nn {

// Above this many rows the general product is as fast.
inline constexpr int64_t kMostPackedRows = 256;

// weight [out, in] in oneDNN's layout, a copy; undefined where this libtorch, device or type has none.
at::Tensor pack_weight(const at::Tensor& weight);

// x [..., in] times the transposed weight plus bias [out], which may be undefined. No gradient.
at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias);

}  // namespace precis::nn

// Products of few rows with weights in a layout of their own. The general matrix product reads a weight
// several times where a decoder step has a handful of rows; this one reads it once (docs/decisions/0011).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace precis::nn {

// A weight [out, in], or N of them, as panels [N, ceil(out / 16), in, 16] (nn/packed_kernel.h), the last one
// filled up with zeros; undefined where nothing is packed.
struct PackedWeight {
  at::Tensor panels;  // float32 or bfloat16
  int64_t outputs = 0;

  bool defined() const { return panels.defined(); }
};

// Copies a weight [out, in] (N is then 1) or weights [N, out, in]. Undefined for other types, devices and
// processors than the kernel is made for.
PackedWeight pack_weight(const at::Tensor& weight);

// The same of one weight, in the memory of the weight itself where that is the weight's alone and has the
// room for panels: one of nn::empty_weight(), or of a multiple of sixteen outputs. A copy otherwise. The
// weight is undefined afterwards.
PackedWeight pack_in_place(at::Tensor& weight);

// Rows [.., in] of the weight at ids [..], int64, in the weight's type.
at::Tensor packed_rows(const PackedWeight& weight, const at::Tensor& ids);

// What pack_weight() answers, without its work.
bool can_pack(const at::Tensor& weight);

// Whether the packed product is at least as fast as the general one for so many rows.
bool packed_is_faster(int64_t rows);

// x [..., in], or [N, rows, in] for N weights, times the transposed weight plus bias [out], which may be
// undefined; in x's type, summed in float32 and rounded once. No gradient.
at::Tensor packed_linear(const at::Tensor& x, const PackedWeight& weight, const at::Tensor& bias);

}  // namespace precis::nn

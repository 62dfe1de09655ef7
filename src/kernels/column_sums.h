// Sums over rows, as a bias's gradient is, for bfloat16 on a CPU: the library's reads a wide matrix many
// times slower than memory gives it.
#pragma once

#include <ATen/ATen.h>

namespace precis::kernels {

// Whether column_sums() takes it.
bool has_column_sums(const at::Tensor& rows_RD);

// [D], float32, of rows [R, D] in bfloat16 without gaps. The order of a sum is that of the rows.
at::Tensor column_sums(const at::Tensor& rows_RD);

}  // namespace precis::kernels

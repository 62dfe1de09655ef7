// x W' + b, as every projection here is.
#pragma once

#include <ATen/ATen.h>

namespace precis::nn {

// x [..., in], weight [out, in]; the bias [out] may be undefined. The result has x's type, and weight and
// bias may have another: they are cast, and their gradients come in their own type.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

}  // namespace precis::nn

// x W' + b, as every projection here is.
#pragma once

#include <ATen/ATen.h>

namespace precis::nn {

// x [..., in], weight [out, in]; the bias [out] may be undefined. The result has x's type, and weight and
// bias may have another: they are cast, and their gradients come in their own type.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// Its gradient by hand. Of x, in d_y's type; added to `sum`, which it then returns, where that is given.
at::Tensor linear_input_gradient(const at::Tensor& d_y, const at::Tensor& weight, at::Tensor sum = {});
// Adds the weight's and the bias's, which may be undefined, to their `.grad`, made where there is none. x and
// d_y of one type.
void add_linear_gradient(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& d_y,
                         const at::Tensor& x);
// The parameter's `.grad`, made where there is none.
at::Tensor& gradient_of(const at::Tensor& parameter);

}  // namespace precis::nn

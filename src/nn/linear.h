// x W' + b, as every projection here is.
#pragma once

#include <ATen/ATen.h>

namespace precis::nn {

// x [..., in], weight [out, in]; the bias [out] may be undefined.
inline at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return at::linear(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

}  // namespace precis::nn

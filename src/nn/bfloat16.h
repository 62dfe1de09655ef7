// bfloat16 on processors without instructions for it. The library's products of it are then many times slower
// than those of float32, so that what is held in bfloat16 is multiplied in float32 and rounded once.
#pragma once

#include <ATen/ATen.h>

namespace precis::nn {

// Whether tensors of this type and device are bfloat16 on a CPU that only computes in float32.
bool widens_bfloat16(at::ScalarType type, at::Device device);

}  // namespace precis::nn

// Sums and maxima of tensors over ranks.
#pragma once

#include <ATen/ATen.h>

#include "parallel/communicator.h"

namespace precis::nn {

// In place, float32 or float64, on any device; every rank has the same bits then.
void sum_over(parallel::Communicator& ranks, at::Tensor x);
void maximum_over(parallel::Communicator& ranks, at::Tensor x);

}  // namespace precis::nn

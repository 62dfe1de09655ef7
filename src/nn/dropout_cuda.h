// Dropout factors on a GPU. Includes nothing of libtorch, for nvcc.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace precis::nn {

// Of factors [rows, heads, lines, columns], side by side.
struct DropoutBlock {
  int64_t rows = 0, heads = 0, lines = 0, columns = 0;
  int64_t first_column = 0;  // what the first stands for
  uint32_t threshold = 0;    // the rate in 1 / 2^32
};

// Writes 0 or `kept` to each of the factors, which are on the GPU. `row_keys` (dropout_mask.h), one a row,
// are in the host's memory and read before this returns. Returns what CUDA says of the launch.
cudaError_t fill_dropout_factors(float* factors, const DropoutBlock& block, const uint64_t* row_keys,
                                 float kept, cudaStream_t stream);
cudaError_t fill_dropout_factors(double* factors, const DropoutBlock& block, const uint64_t* row_keys,
                                 double kept, cudaStream_t stream);

}  // namespace precis::nn

// A warp a line: its lanes take the columns in turn.
#include <algorithm>

#include "nn/dropout_cuda.h"
#include "nn/dropout_mask.h"

namespace precis::nn {

namespace {

constexpr int kLanes = 32, kWarps = 8;
// Keys travel with the launch, so that nothing is copied to the GPU beforehand: at most so many.
constexpr int64_t kRowsOfALaunch = 64;

struct RowKeys {
  uint64_t of[kRowsOfALaunch];
};

template <typename Scalar>
__global__ void fill(Scalar* factors, DropoutBlock block, RowKeys keys, Scalar kept) {
  const int64_t all = block.rows * block.heads * block.lines;
  for (int64_t line = int64_t{blockIdx.x} * kWarps + threadIdx.y; line < all;
       line += int64_t{gridDim.x} * kWarps) {
    const uint64_t b = line / (block.heads * block.lines), h = line / block.lines % block.heads;
    const uint64_t key = line_key(keys.of[b], h, line % block.lines);
    Scalar* const to = factors + line * block.columns;
    for (int64_t n = threadIdx.x; n < block.columns; n += kLanes) {
      const uint32_t column = static_cast<uint32_t>(block.first_column + n);
      to[n] = is_dropped(key, column, block.threshold) ? Scalar(0) : kept;
    }
  }
}

template <typename Scalar>
cudaError_t launch(Scalar* factors, DropoutBlock block, const uint64_t* row_keys, Scalar kept,
                   cudaStream_t stream) {
  constexpr int64_t kMostBlocks = int64_t{1} << 20;
  const int64_t lines_of_a_row = block.heads * block.lines;
  for (int64_t rows = block.rows; rows > 0 && lines_of_a_row * block.columns > 0; rows -= block.rows) {
    block.rows = std::min(rows, kRowsOfALaunch);
    RowKeys keys = {};
    std::copy_n(row_keys, block.rows, keys.of);
    const int64_t blocks = (block.rows * lines_of_a_row + kWarps - 1) / kWarps;
    fill<<<static_cast<unsigned>(std::min(blocks, kMostBlocks)), dim3(kLanes, kWarps), 0, stream>>>(
        factors, block, keys, kept);
    factors += block.rows * lines_of_a_row * block.columns;
    row_keys += block.rows;
  }
  return cudaGetLastError();
}

}  // namespace

cudaError_t fill_dropout_factors(float* factors, const DropoutBlock& block, const uint64_t* row_keys,
                                 float kept, cudaStream_t stream) {
  return launch(factors, block, row_keys, kept, stream);
}

cudaError_t fill_dropout_factors(double* factors, const DropoutBlock& block, const uint64_t* row_keys,
                                 double kept, cudaStream_t stream) {
  return launch(factors, block, row_keys, kept, stream);
}

}  // namespace precis::nn

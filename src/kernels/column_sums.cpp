// A strip of columns at a time, whose sums stay in the first cache.
#include "kernels/column_sums.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <bit>

#include "kernels/attention.h"
#include "kernels/vectors.h"

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed to inlined functions alone

namespace precis::kernels {

namespace {

constexpr int64_t kColumns = 512;

PRECIS_AVX512 void add_strip(const uint16_t* rows, int64_t R, int64_t D, int64_t columns, float* sums) {
  for (int64_t r = 0; r < R; ++r) {
    const uint16_t* row = rows + r * D;
    for (int64_t c = 0; c < columns; c += kLanes) {
      Halves halves;
      std::memcpy(&halves, row + c, sizeof(halves));
      store(sums + c, load(sums + c) + std::bit_cast<Floats>(__builtin_convertvector(halves, Words) << 16));
    }
  }
}

}  // namespace

bool has_column_sums(const at::Tensor& rows_RD) {
  return rows_RD.scalar_type() == at::kBFloat16 && rows_RD.is_contiguous() && rows_RD.size(1) % kLanes == 0 &&
         has_attention(at::kBFloat16, rows_RD.device(), kLanes);
}

at::Tensor column_sums(const at::Tensor& rows_RD) {
  const int64_t R = rows_RD.size(0), D = rows_RD.size(1);
  const at::Tensor sums = at::zeros({D}, at::kFloat);
  const uint16_t* rows = static_cast<const uint16_t*>(rows_RD.const_data_ptr());
  float* to = sums.mutable_data_ptr<float>();
  at::parallel_for(0, (D + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t first = strip * kColumns;
      add_strip(rows + first, R, D, std::min(kColumns, D - first), to + first);
    }
  });
  return sums;
}

}  // namespace precis::kernels

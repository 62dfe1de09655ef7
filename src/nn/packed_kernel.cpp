// Vectors of eight float32 in the compiler's own notation, compiled once for AVX2.
#include "nn/packed_kernel.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#define PRECIS_AVX2 __attribute__((target("avx2,fma")))
#else
#define PRECIS_AVX2
#endif
// Inlined into the function that is compiled for AVX2, and with it compiled so.
#define PRECIS_INLINE inline __attribute__((always_inline))

namespace precis::nn {

namespace {

using Floats = float __attribute__((vector_size(32)));
using Words = uint32_t __attribute__((vector_size(32)));

constexpr int kLane = 8;
constexpr int kMostRows = 6;      // 12 sums, two weights and a row's value: 15 of 16 registers
constexpr int64_t kPart = 1024;   // terms of one sum: sums of many have lost more to rounding
constexpr int64_t kAhead = 2048;  // bytes that memory is asked for in advance: over the end of a page
constexpr int64_t kRowBytes = int64_t{1} << 18;  // rows of x that stay in the second cache beside a panel

PRECIS_INLINE void load(const float* panel, Floats& low, Floats& high) {
  std::memcpy(&low, panel, sizeof(low));
  std::memcpy(&high, panel + kLane, sizeof(high));
}

// A bfloat16 is the upper half of a float32.
PRECIS_INLINE void load(const uint16_t* panel, Floats& low, Floats& high) {
  Words pairs;
  std::memcpy(&pairs, panel, sizeof(pairs));
  const Words first = pairs << 16, second = pairs & 0xffff0000U;
  std::memcpy(&low, &first, sizeof(low));
  std::memcpy(&high, &second, sizeof(high));
}

template <int kRows, typename Weight>
PRECIS_INLINE void multiply_tile(const float* x, int64_t in, const Weight* panel, const float* bias,
                                 float* out, int64_t stride, int64_t outputs) {
  Floats totals[kRows][2] = {};
  for (int64_t begin = 0; begin < in; begin += kPart) {
    const int64_t end = std::min(begin + kPart, in);
    Floats sums[kRows][2] = {};
    for (int64_t k = begin; k < end; ++k) {
      Floats low, high;
      load(panel + k * kPanelOutputs, low, high);
      __builtin_prefetch(reinterpret_cast<const char*>(panel + k * kPanelOutputs) + kAhead);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Floats value = x[r * in + k] - Floats{};
        sums[r][0] += value * low;
        sums[r][1] += value * high;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      totals[r][0] += sums[r][0];
      totals[r][1] += sums[r][1];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    float row[kPanelOutputs];
    std::memcpy(row, totals[r], sizeof(row));
    for (int64_t j = 0; j < outputs; ++j) out[r * stride + j] = row[j] + (bias == nullptr ? 0.0F : bias[j]);
  }
}

template <typename Weight>
PRECIS_INLINE void multiply(const PackedProduct& product, int64_t first, int64_t last) {
  const int64_t in = product.in;
  const int64_t block = std::max<int64_t>(kRowBytes / (in * 4) / kMostRows, 4) * kMostRows;
  for (int64_t begin = 0; begin < product.rows; begin += block) {
    const int64_t end = std::min(begin + block, product.rows);
    for (int64_t p = first; p < last; ++p) {
      const Weight* panel = static_cast<const Weight*>(product.panels) + p * in * kPanelOutputs;
      const int64_t output = p * kPanelOutputs;
      const int64_t outputs = std::min(kPanelOutputs, product.outputs - output);
      const float* bias = product.bias == nullptr ? nullptr : product.bias + output;
      for (int64_t row = begin; row < end; row += kMostRows) {
        const float* x = product.x + row * in;
        float* out = product.out + row * product.outputs + output;
        switch (std::min<int64_t>(end - row, kMostRows)) {
          case 1:
            multiply_tile<1>(x, in, panel, bias, out, product.outputs, outputs);
            break;
          case 2:
            multiply_tile<2>(x, in, panel, bias, out, product.outputs, outputs);
            break;
          case 3:
            multiply_tile<3>(x, in, panel, bias, out, product.outputs, outputs);
            break;
          case 4:
            multiply_tile<4>(x, in, panel, bias, out, product.outputs, outputs);
            break;
          case 5:
            multiply_tile<5>(x, in, panel, bias, out, product.outputs, outputs);
            break;
          default:
            multiply_tile<6>(x, in, panel, bias, out, product.outputs, outputs);
            break;
        }
      }
    }
  }
}

PRECIS_AVX2 void multiply_float32(const PackedProduct& product, int64_t first, int64_t last) {
  multiply<float>(product, first, last);
}

PRECIS_AVX2 void multiply_bfloat16(const PackedProduct& product, int64_t first, int64_t last) {
  multiply<uint16_t>(product, first, last);
}

}  // namespace

bool has_packed_kernel() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has;
#else
  return true;
#endif
}

void multiply_panels(const PackedProduct& product, int64_t first, int64_t last) {
  (product.bfloat16 ? multiply_bfloat16 : multiply_float32)(product, first, last);
}

}  // namespace precis::nn

// Sixteen float32 at a time, in the compiler's own notation: what attention needs beside matrix products.
// Everything here is inlined into a function that is compiled for a processor (PRECIS_AVX512), and with it
// compiled so.
#pragma once

#include <c10/util/BFloat16.h>

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#define PRECIS_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#else
#define PRECIS_AVX512
#endif
#define PRECIS_INLINE inline __attribute__((always_inline))

// Vectors are passed between inlined functions alone, so that no calling convention applies.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"

namespace precis::kernels {

inline constexpr int64_t kLanes = 16;
using Floats = float __attribute__((vector_size(64)));
using Words = uint32_t __attribute__((vector_size(64)));
using Halves = uint16_t __attribute__((vector_size(32)));

PRECIS_INLINE Floats load(const float* from) {
  Floats x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}
PRECIS_INLINE void store(float* to, const Floats& x) { std::memcpy(to, &x, sizeof(x)); }

// Sixteen bfloat16 in the low halves of words, rounded to nearest, ties to even. Not for NaN.
PRECIS_INLINE Words bfloat16_bits(const Floats& x) {
  const Words bits = std::bit_cast<Words>(x);
  return (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
}
PRECIS_INLINE void store(c10::BFloat16* to, const Floats& x) {
  const Halves halves = __builtin_convertvector(bfloat16_bits(x), Halves);
  std::memcpy(to, &halves, sizeof(halves));
}

// 2^x, off by 2e-7 of it at most; 0 below 2^-126. Not for NaN or x above 127.
PRECIS_INLINE Floats exp2_of(const Floats& x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: a sum with it has x's nearest integer in its low bits
  const Floats shifted = x + kRound;
  const Floats f = x - (shifted - kRound);
  // The series of 2^f about 0: |f| <= 1/2.
  Floats sum = 1.5403530e-4F * f + 1.3333558e-3F;
  sum = sum * f + 9.6181291e-3F;
  sum = sum * f + 5.5504109e-2F;
  sum = sum * f + 2.4022651e-1F;
  sum = sum * f + 6.9314718e-1F;
  sum = sum * f + 1.0F;
  const Words result = std::bit_cast<Words>(sum) + (std::bit_cast<Words>(shifted) << 23);
  return std::bit_cast<Floats>(x < -126.0F ? Words{} : result);
}

PRECIS_INLINE float largest_of(const Floats& x) {
  float lanes[kLanes];
  std::memcpy(lanes, &x, sizeof(lanes));
  float largest = lanes[0];
  for (int64_t i = 1; i < kLanes; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
}

PRECIS_INLINE float sum_of(const Floats& x) {
  float lanes[kLanes];
  std::memcpy(lanes, &x, sizeof(lanes));
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

PRECIS_INLINE Words counted_from(uint32_t first) {
  constexpr Words kCount = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return kCount + first;
}

}  // namespace precis::kernels

#pragma GCC diagnostic pop

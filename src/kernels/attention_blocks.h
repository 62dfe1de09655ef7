// What both passes of attention are made of: views of heads, operands of products, dropout by counter.
#pragma once

#include <ATen/ATen.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

#include "base/random.h"
#include "kernels/attention.h"
#include "kernels/vectors.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"

namespace precis::kernels {

inline constexpr float kLog2E = 1.44269504F;
// Rows and columns of blocks are filled up to a multiple of it: products then have few different shapes, each
// of which is compiled at its first use.
inline constexpr int64_t kFill = 32;

constexpr int64_t filled(int64_t count) { return (count + kFill - 1) / kFill * kFill; }

// Memory that starts at a cache line and is written before it is read.
template <typename T>
struct Buffer {
  std::unique_ptr<T[], decltype(&std::free)> data;
  explicit Buffer(int64_t size)
      : data(static_cast<T*>(std::aligned_alloc(64, (static_cast<size_t>(size) * sizeof(T) + 63) / 64 * 64)),
             &std::free) {}
  operator T*() const { return data.get(); }
};

// Positions [.., E] of a tensor [B, H, .., E].
template <typename Value>
struct Heads {
  Value* data;
  int64_t of_row, of_head, of_position;

  explicit Heads(const at::Tensor& x_BHSE)
      : data(static_cast<Value*>(x_BHSE.data_ptr())),
        of_row(x_BHSE.stride(0)),
        of_head(x_BHSE.stride(1)),
        of_position(x_BHSE.stride(2)) {}
  Value* at(int64_t b, int64_t h, int64_t position) const {
    return data + b * of_row + h * of_head + position * of_position;
  }
};

// c [M, N] = a [M, K] b [K, N], or added to it; b lies as to_right_operand() has made it, N wide.
template <typename Value>
void multiply(int64_t M, int64_t N, int64_t K, const Value* a, int64_t of_a, const Value* b, float* c,
              bool add) {
  at::native::cpublas::brgemm(M, N, K, of_a, N, N, add, a, b, c);
}

// Rows [rows, E], E apart, filled up with zeros.
template <typename Value>
PRECIS_INLINE void copy_rows(const Value* from, int64_t of_row, int64_t rows, int64_t E, Value* to) {
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(to + r * E, from + r * of_row, static_cast<size_t>(E) * sizeof(Value));
  std::memset(to + rows * E, 0, static_cast<size_t>((filled(rows) - rows) * E) * sizeof(Value));
}

// [E, filled(rows)] of rows [filled(rows), E].
template <typename Value>
PRECIS_INLINE void transpose(const Value* rows_RE, int64_t rows, int64_t E, Value* to) {
  const int64_t width = filled(rows);
  constexpr int64_t kTile = 16;
  for (int64_t r = 0; r < width; r += kTile) {
    for (int64_t e = 0; e < E; ++e) {
      for (int64_t i = 0; i < kTile; ++i) to[e * width + r + i] = rows_RE[(r + i) * E + e];
    }
  }
}

// The right-hand matrix of a product: float32 lies as it is, [K, N]; bfloat16 in pairs of rows, [K / 2, N,
// 2]. From rows [K, N], K even: of the keys, for products that sum over them.
PRECIS_INLINE void to_right_operand(const float* rows_KN, int64_t K, int64_t N, float* to) {
  std::memcpy(to, rows_KN, static_cast<size_t>(K * N) * sizeof(float));
}
PRECIS_INLINE void to_right_operand(const c10::BFloat16* rows_KN, int64_t K, int64_t N, c10::BFloat16* to) {
  const uint16_t* from = reinterpret_cast<const uint16_t*>(rows_KN);
  uint32_t* pairs = reinterpret_cast<uint32_t*>(to);
  for (int64_t k = 0; k < K; k += 2) {
    const uint16_t *low = from + k * N, *high = low + N;
    for (int64_t n = 0; n < N; ++n) pairs[k / 2 * N + n] = low[n] | uint32_t{high[n]} << 16;
  }
}
// Its transpose's from rows [N, K], N filled up, K even: for products that sum over the width.
PRECIS_INLINE void to_right_operand_of_transpose(const float* rows_NK, int64_t N, int64_t K, float* to) {
  transpose(rows_NK, N, K, to);
}
PRECIS_INLINE void to_right_operand_of_transpose(const c10::BFloat16* rows_NK, int64_t N, int64_t K,
                                                 c10::BFloat16* to) {
  transpose(reinterpret_cast<const uint32_t*>(rows_NK), N, K / 2, reinterpret_cast<uint32_t*>(to));
}

// Dropout of one head's probabilities: keep(low, high, columns) is nn::dropout()'s choice for 16 of them.
struct Dropout {
  uint32_t threshold = 0;
  float kept = 1.0F;  // 1 / (1 - p)
  uint64_t key = 0;   // of the batch row and the site
  uint64_t head = 0;
  uint32_t first_column = 0;

  Dropout(const AttentionSettings& settings, int64_t b, int64_t h)
      : threshold(static_cast<uint32_t>(std::min(settings.dropout * 0x1p32, double{UINT32_MAX}))),
        kept(static_cast<float>(1.0 / (1.0 - settings.dropout))),
        head(static_cast<uint64_t>(h)) {
    if (settings.dropout == 0.0) return;
    const size_t row = static_cast<size_t>(b);
    key = combine(settings.dropout_keys_B[row], settings.site);
    if (!settings.first_key_B.empty()) first_column = static_cast<uint32_t>(settings.first_key_B[row]);
  }
  uint64_t line(int64_t query) const { return combine(key, head << 40 ^ static_cast<uint64_t>(query)); }
};

// All bits of the columns that are dropped.
PRECIS_INLINE Words dropped(const Words& low, const Words& high, Words columns, uint32_t threshold) {
  mix_column(columns, low, high);
  return std::bit_cast<Words>(columns < threshold);
}

inline int64_t keys_of(const AttentionSettings& settings, int64_t b, int64_t keys) {
  if (settings.keys_B.empty()) return keys;
  return std::clamp<int64_t>(settings.keys_B[static_cast<size_t>(b)], 0, keys);
}

}  // namespace precis::kernels

#pragma GCC diagnostic pop

// Which elements dropout takes: the one function that the CPU's loop and the GPU's kernel both compile, so
// that their masks are the same. Includes nothing of libtorch, for nvcc.
#pragma once

#include <cstdint>

#include "base/host_device.h"
#include "base/random.h"

namespace precis::nn {

// The key of a row at a site.
PRECIS_HOST_DEVICE inline uint64_t row_key(uint64_t row, uint64_t site) { return combine(row, site); }

// Of line (h, m) of a row: takes all 64 bits of the row's key, h and m.
PRECIS_HOST_DEVICE inline uint64_t line_key(uint64_t key_of_row, uint64_t h, uint64_t m) {
  return combine(key_of_row, h << 40 ^ m);
}

// Whether an element of a line is zeroed. A column is a counter under the line's key, mixed twice with both
// halves of it; `threshold` is the rate in 1 / 2^32.
PRECIS_HOST_DEVICE inline bool is_dropped(uint64_t key_of_line, uint32_t column, uint32_t threshold) {
  const uint32_t low = static_cast<uint32_t>(key_of_line), high = static_cast<uint32_t>(key_of_line >> 32);
  mix_column(column, low, high);
  return column < threshold;
}

}  // namespace precis::nn

// The inner loops of the packed linear layer, on plain memory: a weight [out, in] is held as panels of
// sixteen outputs, [panels, in, 16], so that a product reads it once, in the order in which it lies. The
// tiles are those of BLIS (Van Zee and van de Geijn, 2015): sums of a few rows by sixteen outputs stay in
// registers.
#pragma once

#include <cstdint>

namespace precis::nn {

inline constexpr int64_t kPanelOutputs = 16;

// A weight's panel holds 16-bit values in another order: outputs j and j + 8 side by side, which one shift
// and one mask then part into two vectors.
constexpr int64_t place_in_panel(int64_t output, bool wide) {
  return wide ? output : 2 * (output % 8) + output / 8;
}

// Whether this processor runs them: AVX2 and FMA, or anything that is not x86.
bool has_packed_kernel();

// Panels [first, last) of out [rows, outputs] = x [rows, in] weight' + bias [outputs] (which may be null),
// all float32 and contiguous; the weight's values float32 or bfloat16. Sums are float32, made of parts of
// 1,024 in the order of `in`: a row's result does not depend on the rows beside it.
struct PackedProduct {
  const float* x = nullptr;
  const void* panels = nullptr;
  const float* bias = nullptr;
  float* out = nullptr;
  int64_t rows = 0, in = 0, outputs = 0;
  bool bfloat16 = false;
};
void multiply_panels(const PackedProduct& product, int64_t first, int64_t last);

}  // namespace precis::nn

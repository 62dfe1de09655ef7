// Counter-based random numbers: a value is a pure function of (key, counter), so that
// dropout masks and shuffles replay in any order and survive packing, sharding and resume.
#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace precis {

// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection with full avalanche.
PRECIS_HOST_DEVICE inline uint64_t mix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// In place, a 32-bit finaliser (Ellis 2018, lowbias32) of one word or of a vector of them: it vectorises
// where a 64-bit multiply does not.
template <typename Word>
PRECIS_HOST_DEVICE inline __attribute__((always_inline)) void mix32(Word& x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  x ^= x >> 16;
}

// The word that decides about a column of a line of dropout: mixed twice with both halves of the line's key.
template <typename Word>
PRECIS_HOST_DEVICE inline __attribute__((always_inline)) void mix_column(Word& column, const Word& low,
                                                                         const Word& high) {
  column ^= low;
  mix32(column);
  column += high;
  mix32(column);
}

// Derives the key of a sub-stream. Order matters: combine(combine(seed, a), b).
PRECIS_HOST_DEVICE inline uint64_t combine(uint64_t key, uint64_t value) { return mix64(key ^ mix64(value)); }

// A sequence of 64-bit values with a state of one integer, for shuffles and sampling.
struct CounterRandom {
  uint64_t key = 0;
  uint64_t counter = 0;

  uint64_t next() { return mix64(combine(key, counter++)); }
  // Uniform in [0, bound), bound > 0, without bias (rejection).
  uint64_t below(uint64_t bound) {
    const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value = next();
    while (value >= limit) value = next();
    return value % bound;
  }
};

}  // namespace precis

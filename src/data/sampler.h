// The order of rows in training: a permutation an epoch, with a state that can be saved.
#pragma once

#include <cstdint>
#include <vector>

namespace precis {

// Where training stands among the rows.
struct SamplerState {
  int64_t epoch = 0;
  int64_t position = 0;  // rows already given in this epoch
  bool operator==(const SamplerState&) const = default;
};

// The order of epoch e is a pure function of (seed, e, size): a Fisher-Yates shuffle driven by base/random.h.
// So a state is two integers, and setting it gives the very rows that would have come.
class Sampler {
 public:
  // `size` of at least 1, else Error{kData}. Without `shuffle` the rows come in their own order.
  Sampler(int64_t size, uint64_t seed, bool shuffle = true);

  // The next row, in [0, size). Starts the next epoch behind the last row.
  int64_t next();

  SamplerState state() const { return state_; }
  // A state of a data set of another size is Error{kModel} where it lies outside this one.
  void set_state(SamplerState state);
  int64_t size() const { return size_; }

 private:
  void arrange();

  int64_t size_;
  uint64_t seed_;
  bool shuffle_;
  SamplerState state_;
  std::vector<int64_t> order_;  // of state_.epoch; empty without shuffle
};

}  // namespace precis

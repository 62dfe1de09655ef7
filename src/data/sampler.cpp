// Fisher-Yates shuffles, one an epoch.
#include "data/sampler.h"

#include <numeric>
#include <string>

#include "base/error.h"
#include "data/shuffle.h"

namespace precis {

namespace {

// Keeps the shuffles apart from every other use of the same seed.
constexpr uint64_t kShuffleStream = 0x73687566666C65;  // "shuffle"

}  // namespace

Sampler::Sampler(int64_t size, uint64_t seed, bool shuffle) : size_(size), seed_(seed), shuffle_(shuffle) {
  if (size < 1) throw Error(ErrorKind::kData, {.what = "the data set has no rows"});
  arrange();
}

void Sampler::arrange() {
  if (!shuffle_) return;
  order_.resize(static_cast<size_t>(size_));
  std::iota(order_.begin(), order_.end(), int64_t{0});
  CounterRandom random{.key = combine(combine(seed_, kShuffleStream), static_cast<uint64_t>(state_.epoch))};
  shuffle(order_, random);
}

int64_t Sampler::next() {
  if (state_.position == size_) {
    state_ = {.epoch = state_.epoch + 1, .position = 0};
    arrange();
  }
  const int64_t position = state_.position++;
  return shuffle_ ? order_[static_cast<size_t>(position)] : position;
}

void Sampler::set_state(SamplerState state) {
  if (state.epoch < 0 || state.position < 0 || state.position > size_) {
    throw Error(ErrorKind::kModel, {.what = "saved position outside the data set",
                                    .expected = "0 to " + std::to_string(size_),
                                    .found = std::to_string(state.position)});
  }
  state_ = state;
  arrange();
}

}  // namespace precis

// Shuffles that replay.
#pragma once

#include <utility>
#include <vector>

#include "base/random.h"

namespace precis {

// Fisher-Yates: every order is as likely.
template <class T>
void shuffle(std::vector<T>& values, CounterRandom& random) {
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.below(i)]);
}

}  // namespace precis

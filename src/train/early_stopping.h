// Early stopping: how many validations have passed without improvement.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace precis::train {

// Part of a checkpoint, so that a resumed run stops where the uninterrupted one does.
struct EarlyStopping {
  std::optional<double> reference;  // the last value that was an improvement; nothing before the first
  int64_t without_improvement = 0;  // validations since
  std::string measure;              // as BestSoFar::measure
  bool operator==(const EarlyStopping&) const = default;
};

// What follows from one more validation's `value` of `metric`, of the same measure. An improvement is a value
// that is better than the reference by more than `min_delta`, as in Keras: small steps add up until they pass
// it.
EarlyStopping after_validation(const EarlyStopping& before, const std::string& metric, double value,
                               double min_delta);

}  // namespace precis::train

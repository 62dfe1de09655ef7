// Counting validations without improvement.
#include "train/early_stopping.h"

#include <cmath>

#include "train/validation.h"

namespace precis::train {

EarlyStopping after_validation(const EarlyStopping& before, const std::string& metric, double value,
                               double min_delta) {
  const bool improved = !before.reference || (is_better(metric, value, *before.reference) &&
                                              std::abs(value - *before.reference) > min_delta);
  EarlyStopping after = before;
  if (improved) after.reference = value;
  after.without_improvement = improved ? 0 : before.without_improvement + 1;
  return after;
}

}  // namespace precis::train

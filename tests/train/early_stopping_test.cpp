// What counts as an improvement, and what is counted.
#include "train/early_stopping.h"

#include <gtest/gtest.h>

#include <vector>

namespace precis::train {
namespace {

// The counts after each value.
std::vector<int64_t> counts(const std::string& metric, const std::vector<double>& values, double min_delta) {
  EarlyStopping state;
  std::vector<int64_t> result;
  for (const double value : values) {
    state = after_validation(state, metric, value, min_delta);
    result.push_back(state.without_improvement);
  }
  return result;
}

TEST(EarlyStopping, ALossImprovesDownwardsAndAScoreUpwards) {
  EXPECT_EQ(counts("loss", {3, 2, 2, 2.5, 1, 1}, 0), (std::vector<int64_t>{0, 0, 1, 2, 0, 1}));
  EXPECT_EQ(counts("rouge1", {3, 2, 2, 2.5, 4, 4}, 0), (std::vector<int64_t>{0, 1, 2, 3, 0, 1}));
}

TEST(EarlyStopping, SmallStepsAddUpUntilTheyPassTheLeastDifference) {
  EXPECT_EQ(counts("loss", {3, 2.75, 2.5, 2.25, 2.0}, 0.5), (std::vector<int64_t>{0, 1, 2, 0, 1}));
}

TEST(EarlyStopping, TheMeasureStays) {
  EXPECT_EQ(after_validation({.reference = 1.0, .without_improvement = 2, .measure = "m"}, "loss", 2.0, 0),
            (EarlyStopping{.reference = 1.0, .without_improvement = 3, .measure = "m"}));
}

}  // namespace
}  // namespace precis::train

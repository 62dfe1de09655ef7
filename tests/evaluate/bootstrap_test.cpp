// Bootstrap intervals: repeatable, as wide as theory has them, one point where nothing varies.
#include "evaluate/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/random.h"

namespace precis::evaluate {
namespace {

std::vector<double> coins(size_t count, uint64_t seed) {
  CounterRandom random{seed};
  std::vector<double> values(count);
  for (double& value : values) value = static_cast<double>(random.below(2));
  return values;
}

TEST(Bootstrap, TheSameValuesGiveTheSameInterval) {
  const std::vector<double> values = coins(50, 1);
  const Interval first = bootstrap_mean(values), again = bootstrap_mean(values);
  EXPECT_EQ(first.low, again.low);
  EXPECT_EQ(first.high, again.high);
  EXPECT_NE(first.low, bootstrap_mean(values, 1).low);
}

TEST(Bootstrap, EqualValuesAreAPoint) {
  const Interval interval = bootstrap_mean(std::vector<double>(7, 0.25));
  EXPECT_DOUBLE_EQ(interval.low, 0.25);
  EXPECT_DOUBLE_EQ(interval.high, 0.25);
  const Interval one = bootstrap_mean(std::vector<double>{0.5});
  EXPECT_DOUBLE_EQ(one.low, 0.5);
  EXPECT_DOUBLE_EQ(one.high, 0.5);
}

TEST(Bootstrap, TheIntervalIsThatOfTheNormalApproximation) {
  const std::vector<double> values = coins(2000, 2);
  double mean = 0;
  for (const double value : values) mean += value / 2000;
  // A coin's mean deviates by sqrt(p (1 - p) / n): 0.0112. 1,000 resamples place a percentile within about a
  // tenth of a deviation; three of those.
  const double deviation = std::sqrt(mean * (1 - mean) / 2000);
  const Interval interval = bootstrap_mean(values);
  EXPECT_NEAR(interval.low, mean - 1.96 * deviation, 0.3 * deviation);
  EXPECT_NEAR(interval.high, mean + 1.96 * deviation, 0.3 * deviation);
}

TEST(Bootstrap, PairsAreComparedDocumentByDocument) {
  std::vector<double> a = coins(200, 3), b = a;
  for (double& value : b) value -= 0.01;  // always a little worse, far within the spread of either
  const PairedBootstrap better = paired_bootstrap(a, b);
  EXPECT_NEAR(better.difference, 0.01, 1e-12);
  EXPECT_EQ(better.share_not_better, 0.0);
  EXPECT_EQ(paired_bootstrap(b, a).share_not_better, 1.0);
  EXPECT_EQ(paired_bootstrap(a, a).share_not_better, 1.0);
}

}  // namespace
}  // namespace precis::evaluate

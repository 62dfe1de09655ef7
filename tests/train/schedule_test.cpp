// The learning rate of every update, worked out by hand from PRODUCT's comment on `schedule`.
#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace precis::train {
namespace {

TEST(Schedule, WarmUpIsLinearAndReachesTheRate) {
  for (const ScheduleName name :
       {ScheduleName::kConstant, ScheduleName::kLinear, ScheduleName::kInverseSqrt}) {
    const Schedule schedule{.name = name, .rate = 0.8, .warmup_steps = 4, .total_steps = 12};
    EXPECT_DOUBLE_EQ(schedule.at(1), 0.2);
    EXPECT_DOUBLE_EQ(schedule.at(3), 0.6);
    EXPECT_DOUBLE_EQ(schedule.at(4), 0.8);
  }
}

TEST(Schedule, ConstantStays) {
  const Schedule schedule{.name = ScheduleName::kConstant, .rate = 1.0, .warmup_steps = 0, .total_steps = 1};
  EXPECT_EQ(schedule.at(1), 1.0);
  EXPECT_EQ(schedule.at(1000), 1.0);
}

TEST(Schedule, LinearIsZeroAtTheLastUpdate) {
  const Schedule schedule{.name = ScheduleName::kLinear, .rate = 0.8, .warmup_steps = 4, .total_steps = 12};
  EXPECT_DOUBLE_EQ(schedule.at(5), 0.7);
  EXPECT_DOUBLE_EQ(schedule.at(8), 0.4);
  EXPECT_EQ(schedule.at(12), 0.0);
  const Schedule without{.name = ScheduleName::kLinear, .rate = 1.0, .warmup_steps = 0, .total_steps = 4};
  EXPECT_DOUBLE_EQ(without.at(1), 0.75);
  // A warm-up as long as the run never decays and never divides by zero.
  const Schedule all{.name = ScheduleName::kLinear, .rate = 1.0, .warmup_steps = 4, .total_steps = 4};
  EXPECT_DOUBLE_EQ(all.at(4), 1.0);
}

TEST(Schedule, LinearFollowsTheClockWhereItIsAhead) {
  const Schedule schedule{.name = ScheduleName::kLinear, .rate = 1.0, .warmup_steps = 0, .total_steps = 100};
  EXPECT_DOUBLE_EQ(schedule.at(10, 0.05), 0.9);
  EXPECT_DOUBLE_EQ(schedule.at(10, 0.5), 0.5);
  EXPECT_EQ(schedule.at(10, 1.2), 0.0);
}

TEST(Schedule, InverseSquareRootStartsAtTheRate) {
  const Schedule schedule{
      .name = ScheduleName::kInverseSqrt, .rate = 0.8, .warmup_steps = 4, .total_steps = 100};
  EXPECT_DOUBLE_EQ(schedule.at(16), 0.4);
  EXPECT_DOUBLE_EQ(schedule.at(5), 0.8 * std::sqrt(0.8));
  const Schedule without{
      .name = ScheduleName::kInverseSqrt, .rate = 0.8, .warmup_steps = 0, .total_steps = 100};
  EXPECT_DOUBLE_EQ(without.at(1), 0.8);
  EXPECT_DOUBLE_EQ(without.at(4), 0.4);
}

}  // namespace
}  // namespace precis::train

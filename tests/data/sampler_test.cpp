// Epoch orders: permutations, unlike each other, and the same again from a saved state.
#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/error.h"

namespace precis {
namespace {

std::vector<int64_t> take(Sampler& sampler, int64_t count) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < count; ++i) rows.push_back(sampler.next());
  return rows;
}

TEST(Sampler, EachEpochIsAnotherPermutation) {
  Sampler sampler(100, 1);
  std::set<std::vector<int64_t>> orders;
  for (int epoch = 0; epoch < 20; ++epoch) {
    std::vector<int64_t> order = take(sampler, 100);
    orders.insert(order);
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < 100; ++i) ASSERT_EQ(order[static_cast<size_t>(i)], i);
    EXPECT_EQ(sampler.state(), (SamplerState{epoch, 100}));
  }
  EXPECT_EQ(orders.size(), 20u);
}

TEST(Sampler, SeedsDecideTheOrder) {
  Sampler a(50, 7), b(50, 7), c(50, 8);
  EXPECT_EQ(take(a, 120), take(b, 120));
  EXPECT_NE(take(a, 120), take(c, 120));
}

TEST(Sampler, AnyStateGoesOnAsIfNothingHadHappened) {
  for (int64_t done = 0; done <= 35; ++done) {
    Sampler whole(10, 3), resumed(10, 3);
    take(whole, done);
    resumed.set_state(whole.state());
    EXPECT_EQ(take(whole, 25), take(resumed, 25)) << done;
  }
}

TEST(Sampler, EveryOrderIsAboutAsLikely) {
  // 4 rows have 24 orders; over 24,000 epochs each comes 1,000 times, give or take 31 (one sigma): six
  // sigmas.
  Sampler sampler(4, 11);
  std::map<std::vector<int64_t>, int> counts;
  for (int epoch = 0; epoch < 24000; ++epoch) ++counts[take(sampler, 4)];
  EXPECT_EQ(counts.size(), 24u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 190);
}

TEST(Sampler, WithoutShufflingRowsComeInOrder) {
  Sampler sampler(3, 1, false);
  EXPECT_EQ(take(sampler, 7), (std::vector<int64_t>{0, 1, 2, 0, 1, 2, 0}));
  EXPECT_EQ(sampler.state(), (SamplerState{2, 1}));
}

TEST(Sampler, RefusesNoRowsAndForeignStates) {
  EXPECT_THROW(Sampler(0, 1), Error);
  Sampler sampler(5, 1);
  EXPECT_THROW(sampler.set_state({0, 6}), Error);
  EXPECT_THROW(sampler.set_state({-1, 0}), Error);
  EXPECT_THROW(sampler.set_state({0, -1}), Error);
  Sampler one(1, 1);
  EXPECT_EQ(take(one, 3), (std::vector<int64_t>{0, 0, 0}));
}

}  // namespace
}  // namespace precis

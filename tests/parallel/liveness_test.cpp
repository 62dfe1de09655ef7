// A rank's end is heard by the others, unless it said goodbye.
#include "parallel/liveness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"

namespace precis::parallel {
namespace {

using std::chrono::milliseconds;

std::vector<std::unique_ptr<Liveness>> joined(int size) {
  std::vector<std::unique_ptr<Liveness>> ranks;
  for (int rank = 0; rank < size; ++rank) {
    ranks.push_back(std::make_unique<Liveness>(rank, size, /*one_host=*/true, milliseconds(5000)));
  }
  const std::string address = ranks[0]->address();
  std::vector<std::jthread> joining;
  for (const auto& rank : ranks) joining.emplace_back([&rank, address] { rank->join(address); });
  joining.clear();
  return ranks;
}

// What check() says within two seconds; empty for nothing.
std::string news(const Liveness& rank) {
  for (int turn = 0; turn < 200; ++turn) {
    try {
      rank.check();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kRankLost);
      return error.what();
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
  return "";
}

TEST(Liveness, EveryRankHearsOfOneThatEnds) {
  std::vector<std::unique_ptr<Liveness>> ranks = joined(3);
  ranks[2].reset();
  for (const int other : {0, 1})
    EXPECT_THAT(news(*ranks[other]), testing::HasSubstr("rank 2 of 3 has ended"));
}

TEST(Liveness, EveryRankHearsOfTheFirstThatEnds) {
  std::vector<std::unique_ptr<Liveness>> ranks = joined(3);
  ranks[0].reset();
  for (const int other : {1, 2})
    EXPECT_THAT(news(*ranks[other]), testing::HasSubstr("rank 0 of 3 has ended"));
}

TEST(Liveness, GoodbyeIsNoLoss) {
  std::vector<std::unique_ptr<Liveness>> ranks = joined(2);
  ranks[1]->leave();
  ranks[1].reset();
  EXPECT_EQ(news(*ranks[0]), "");
}

TEST(Liveness, ARankThatDoesNotComeIsLost) {
  Liveness alone(0, 2, /*one_host=*/true, milliseconds(200));
  EXPECT_THROW(alone.join(""), Error);
}

}  // namespace
}  // namespace precis::parallel

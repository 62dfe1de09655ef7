// What "did you mean" proposes.
#include "base/suggest.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace precis {
namespace {

const std::vector<std::string> kNames = {"seed", "steps", "learning_rate", "model.d_model"};

TEST(Suggest, ASlipOfTheHandFindsItsName) {
  for (const auto& [typed, meant] :
       std::vector<std::pair<std::string, std::string>>{{"seed", "seed"},   // nothing wrong
                                                        {"sead", "seed"},   // another letter
                                                        {"sed", "seed"},    // one too few
                                                        {"seeed", "seed"},  // one too many
                                                        {"sede", "seed"},   // two swapped
                                                        {"esed", "seed"},
                                                        {"step", "steps"},
                                                        {"lerning_raet", "learning_rate"}}) {
    EXPECT_EQ(nearest_name(typed, kNames), meant) << typed;
  }
}

TEST(Suggest, AnotherWordFindsNone) {
  for (const std::string& typed :
       std::vector<std::string>{"", "s", "query", "learning", std::string(1000, 's')}) {
    EXPECT_EQ(nearest_name(typed, kNames), "") << typed;
  }
}

TEST(Suggest, TheNearestOfSeveralWins) {
  EXPECT_EQ(nearest_name("window", {"windows", "window_size", "widow"}), "windows");
  EXPECT_EQ(nearest_name("windwo", {"widow", "window"}), "window");
}

}  // namespace
}  // namespace precis

// trainer.json: what is written is read, and what older checkpoints lack has its meaning.
#include <gtest/gtest.h>

#include "train/checkpoint.h"

namespace precis::train {
namespace {

TEST(TrainerState, TheRoomForAStepIsKeptAndOlderCheckpointsHaveNone) {
  TrainerState state;
  state.config = Json::object();
  state.step_bytes = 12345;
  Json json = state.to_json();
  EXPECT_EQ(TrainerState::from_json(json, "trainer.json").step_bytes, 12345);
  json.erase("step_bytes");
  EXPECT_FALSE(TrainerState::from_json(json, "trainer.json").step_bytes);
}

}  // namespace
}  // namespace precis::train

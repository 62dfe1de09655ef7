// Learning a vocabulary.
#include "text/bpe_trainer.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace precis {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

TEST(BpeTrainer, MergesTheMostFrequentPairAndTheLowestIdsOfEquals) {
  BpeTrainer trainer;
  // "bc" 3 times, "ab" 2 times, "de" 3 times: "bc" before "de" since b has the lower id.
  trainer.add("abc");
  trainer.add("abc");
  trainer.add("bc");
  for (int i = 0; i < 3; ++i) trainer.add("de");
  const TrainedVocabulary vocabulary = trainer.train(300);
  EXPECT_EQ(vocabulary.merges, (Merges{{"b", "c"}, {"d", "e"}, {"a", "bc"}}));
  EXPECT_EQ(vocabulary.tokens.size(), 4u + 256 + 3 + 1);
  EXPECT_EQ(vocabulary.tokens[0], "<s>");
  EXPECT_EQ(vocabulary.tokens[1], "<pad>");
  EXPECT_EQ(vocabulary.tokens[2], "</s>");
  EXPECT_EQ(vocabulary.tokens[3], "<unk>");
  EXPECT_EQ(vocabulary.tokens[4], "!");
  EXPECT_EQ(vocabulary.tokens[260], "bc");
  EXPECT_EQ(vocabulary.tokens.back(), "<mask>");
}

TEST(BpeTrainer, OverlappingPairsAreMergedFromTheLeft) {
  BpeTrainer trainer;
  trainer.add("aaaaa");
  EXPECT_EQ(trainer.train(300).merges, (Merges{{"a", "a"}, {"aa", "a"}, {"aa", "aaa"}}));
}

TEST(BpeTrainer, StopsAtTheSizeAskedForAndRefusesTooSmallOnes) {
  BpeTrainer trainer;
  trainer.add("abcdefgh abcdefgh");
  EXPECT_EQ(trainer.train(263).tokens.size(), 263u);
  EXPECT_EQ(trainer.train(261).merges.size(), 0u);
  EXPECT_THROW(trainer.train(260), Error);
}

TEST(BpeTrainer, TheOrderOfTextsDoesNotMatter) {
  const std::string texts[] = {"one two three two", "three\n\nfour", "caf\xC3\xA9 one", "tworld 1984"};
  BpeTrainer forward, backward;
  for (int i = 0; i < 4; ++i) {
    forward.add(texts[i]);
    backward.add(texts[3 - i]);
  }
  EXPECT_EQ(forward.train(290).merges, backward.train(290).merges);
  EXPECT_EQ(forward.train(290).tokens, backward.train(290).tokens);
}

TEST(BpeTrainer, RefusesInvalidUtf8) {
  BpeTrainer trainer;
  EXPECT_THROW(trainer.add("a\xFF"), Error);
}

}  // namespace
}  // namespace precis

// SQuAD's exact match and F1, worked by hand from the definition; tests/python/evaluate_test.py holds them to
// the script's own functions on many texts.
#include "evaluate/answers.h"

#include <gtest/gtest.h>

#include <vector>

namespace precis::evaluate {
namespace {

TEST(Answers, AreNormalisedInTheScriptsOrder) {
  EXPECT_EQ(normalize_answer("  The Cat,  a DOG & an owl!\n"), "cat dog owl");
  EXPECT_EQ(normalize_answer("the."), "");   // punctuation goes first
  EXPECT_EQ(normalize_answer("a-b"), "ab");  // and leaves nothing in its place
  EXPECT_EQ(normalize_answer("theatre an_d"), "theatre and");
  EXPECT_EQ(normalize_answer("\xE2\x80\x9Cthe\xE2\x80\x9D"), "\xE2\x80\x9C \xE2\x80\x9D");  // not ASCII: kept
  EXPECT_EQ(normalize_answer("\xC3\x89T\xC3\x89"), "\xC3\xA9t\xC3\xA9");
}

TEST(Answers, TheBestReferenceCountsForEach) {
  const AnswerScore score = answer_score(std::vector<std::string>{"red green blue", "red"}, "the red, green");
  EXPECT_EQ(score.exact_match, 0.0);
  EXPECT_DOUBLE_EQ(score.f1, 2 * 1 * (2.0 / 3) / (1 + 2.0 / 3));
  EXPECT_EQ(answer_score(std::vector<std::string>{"no", "A red"}, "Red.").exact_match, 1.0);
}

TEST(Answers, WordsCountAsOftenAsBothHaveThem) {
  const AnswerScore score = answer_score(std::vector<std::string>{"x x y"}, "x x x");
  EXPECT_DOUBLE_EQ(score.f1, 2.0 / 3);
}

TEST(Answers, NoAnswerAgreesWithNoAnswerAlone) {
  EXPECT_EQ(answer_score(std::vector<std::string>{""}, "").f1, 1.0);
  EXPECT_EQ(answer_score(std::vector<std::string>{"the"}, "...").exact_match, 1.0);
  EXPECT_EQ(answer_score(std::vector<std::string>{""}, "x").f1, 0.0);
  EXPECT_EQ(answer_score(std::vector<std::string>{"x"}, "").f1, 0.0);
}

}  // namespace
}  // namespace precis::evaluate

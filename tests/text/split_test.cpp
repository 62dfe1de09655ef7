// The GPT-2 word pattern as a scanner.
#include "text/split.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace precis {
namespace {

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> found;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = word_end(text, begin);
    EXPECT_GT(end, begin);
    found.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return found;
}

using Words = std::vector<std::string>;

TEST(Split, KeepsALeadingSpaceWithItsWord) {
  EXPECT_EQ(words("Hello world 42"), (Words{"Hello", " world", " 42"}));
}

TEST(Split, CutsBetweenLettersNumbersAndTheRest) {
  EXPECT_EQ(words("ab12,;x"), (Words{"ab", "12", ",;", "x"}));
  EXPECT_EQ(words("caf\xC3\xA9\xE2\x82\xAC"), (Words{"caf\xC3\xA9", "\xE2\x82\xAC"}));
}

TEST(Split, TakesContractionsOnlyAtAnApostropheThatStartsAWord) {
  EXPECT_EQ(
      words("it's we'll I'd you've they're I'm don't"),
      (Words{"it", "'s", " we", "'ll", " I", "'d", " you", "'ve", " they", "'re", " I", "'m", " don", "'t"}));
  EXPECT_EQ(words("''s"), (Words{"''", "s"}));
  EXPECT_EQ(words(" 's"), (Words{" '", "s"}));
  EXPECT_EQ(words("'S 'l 'r '"), (Words{"'", "S", " '", "l", " '", "r", " '"}));
  EXPECT_EQ(words("'tis"), (Words{"'t", "is"}));
}

TEST(Split, LeavesTheLastSpaceToTheNextWord) {
  EXPECT_EQ(words("a   b"), (Words{"a", "  ", " b"}));
  EXPECT_EQ(words("a\n\nb"), (Words{"a", "\n", "\n", "b"}));
  EXPECT_EQ(words("a \n b"), (Words{"a", " \n", " b"}));
  EXPECT_EQ(words("a\tb"), (Words{"a", "\t", "b"}));
}

TEST(Split, TakesWhiteSpaceAtTheEndWhole) {
  EXPECT_EQ(words("a   "), (Words{"a", "   "}));
  EXPECT_EQ(words(" "), (Words{" "}));
  EXPECT_EQ(words("x \xE3\x80\x80"), (Words{"x", " \xE3\x80\x80"}));
}

// Quadratic scanning of 10 MB would take hours.
TEST(Split, IsLinearOnRuns) {
  for (const char c : {' ', 'a', '7', '.', '\''}) {
    const std::string text = std::string(10'000'000, c) + "x";
    size_t begin = 0;
    while (begin < text.size()) begin = word_end(text, begin);
    EXPECT_EQ(begin, text.size());
  }
}

}  // namespace
}  // namespace precis

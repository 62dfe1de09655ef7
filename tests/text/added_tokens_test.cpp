// Added tokens in a text: flags, order, and what they take with them.
#include "text/added_tokens.h"

#include <gtest/gtest.h>

namespace precis {
namespace {

// "[token]" for an added token with what it took, plain text as it is, "|" between.
std::string shown(const AddedTokens& added, std::string_view text) {
  std::string out;
  for (const TextPart& part : added.split(text)) {
    if (!out.empty()) out += "|";
    const std::string piece(text.substr(part.begin, part.end - part.begin));
    out += part.token ? "[" + piece + "]" + std::to_string(*part.token) : piece;
  }
  return out;
}

AddedToken token(int32_t id, std::string content) {
  return {.id = id, .content = std::move(content), .normalized = false};
}

TEST(AddedTokens, AreFoundLeftmostAndLongest) {
  const AddedTokens added({token(0, "<s>"), token(1, "ab"), token(2, "abcd"), token(3, "bcde")});
  EXPECT_EQ(shown(added, "<s>x<s>"), "[<s>]0|x|[<s>]0");
  EXPECT_EQ(shown(added, "abcde"), "[abcd]2|e");
  EXPECT_EQ(shown(added, "abce"), "[ab]1|ce");
  EXPECT_EQ(shown(added, "<<s<s>"), "<<s|[<s>]0");
  EXPECT_EQ(shown(added, ""), "");
}

TEST(AddedTokens, StripTakesAllWhiteSpaceOnItsSide) {
  AddedToken left = token(0, "<l>"), right = token(1, "<r>");
  left.lstrip = true;
  right.rstrip = true;
  const AddedTokens added({left, right});
  EXPECT_EQ(shown(added, "a \n\xE3\x80\x80<l> b"), "a|[ \n\xE3\x80\x80<l>]0| b");
  EXPECT_EQ(shown(added, "a <r> \t b"), "a |[<r> \t ]1|b");
  EXPECT_EQ(shown(added, "<r>  <l>"), "[<r>  ]1|[<l>]0");
}

TEST(AddedTokens, SingleWordsStandBesideNoWordCharacter) {
  AddedToken word = token(0, "foo");
  word.single_word = true;
  const AddedTokens added({word});
  EXPECT_EQ(shown(added, "foo foo, (foo)"), "[foo]0| |[foo]0|, (|[foo]0|)");
  EXPECT_EQ(shown(added,
                  "foot afoo _foo foo9 \xC3\xA9"
                  "foo"),
            "foot afoo _foo foo9 \xC3\xA9"
            "foo");
}

TEST(AddedTokens, NormalizedOnesAreLookedForInWhatIsLeft) {
  AddedToken normalized = token(0, "ab");
  normalized.normalized = true;
  const AddedTokens added({normalized, token(1, "bc")});
  EXPECT_EQ(shown(added, "abc ab"), "a|[bc]1| |[ab]0");
}

}  // namespace
}  // namespace precis

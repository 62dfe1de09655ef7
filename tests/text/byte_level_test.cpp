// Bytes as printable characters.
#include "text/byte_level.h"

#include <gtest/gtest.h>

#include <set>

namespace precis {
namespace {

TEST(ByteLevel, EveryByteHasItsOwnCharacterAndComesBack) {
  std::set<std::string> seen;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    const std::string character = to_byte_characters(one);
    EXPECT_TRUE(seen.insert(character).second) << byte;
    std::string back;
    append_token_bytes(character, back);
    EXPECT_EQ(back, one) << byte;
  }
}

TEST(ByteLevel, SpaceAndNewlineAreThoseOfGpt2) {
  EXPECT_EQ(to_byte_characters(" a\n"),
            "\xC4\xA0"
            "a"
            "\xC4\x8A");
}

TEST(ByteLevel, ATokenWithAnotherCharacterStandsForItself) {
  std::string out = "x";
  append_token_bytes("\xC4\xA0<\xE2\x82\xAC>", out);  // U+20AC is no byte
  EXPECT_EQ(out, "x\xC4\xA0<\xE2\x82\xAC>");
  out.clear();
  append_token_bytes("a b", out);  // neither is a plain space
  EXPECT_EQ(out, "a b");
}

}  // namespace
}  // namespace precis

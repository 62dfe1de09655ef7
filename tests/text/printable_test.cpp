// Text as a line of a terminal shows it.
#include "text/printable.h"

#include <gtest/gtest.h>

#include <string>

namespace precis {
namespace {

using namespace std::string_literals;

TEST(Printable, KeepsWhatAPersonReads) {
  const std::string text = "row 'b\xC3\xA4r' \xE2\x80\x94 \xF0\x9F\x98\x80 a\\b";
  EXPECT_EQ(printable(text), text);
  EXPECT_EQ(printable(""), "");
}

TEST(Printable, EscapesWhatMovesTheCursorOrHidesText) {
  EXPECT_EQ(printable("a\x1B[2Jb\n\r\t\x7F"), "a\\x1B[2Jb\\n\\r\\t\\x7F");
  EXPECT_EQ(printable("a\0b"s), "a\\x00b");
  EXPECT_EQ(printable("\xC2\x9B"
                      "1m"),
            "\\u{009B}1m");  // one character that begins a sequence
  EXPECT_EQ(printable("\xE2\x80\xAE\xE2\x80\xA8"), "\\u{202E}\\u{2028}");  // right to left; a line's end
  EXPECT_EQ(printable("\xD8\x9C\xE2\x80\x8B"), "\\u{061C}\\u{200B}");      // a mark of direction; no width
}

TEST(Printable, EscapesBytesThatAreNoUtf8) { EXPECT_EQ(printable("a\xFF\xE2\x82z"), "a\\xFF\\xE2\\x82z"); }

TEST(Fitting, CutsBetweenCharacters) {
  const std::string text = "a\xC3\xA4\xE6\xBC\xA2z";  // one, one, two and one column
  EXPECT_EQ(fitting(text, 5), text);
  EXPECT_EQ(fitting(text, 4), "a\xC3\xA4\xE6\xBC\xA2");
  EXPECT_EQ(fitting(text, 3), "a\xC3\xA4");
  EXPECT_EQ(fitting(text, 1), "a");
  EXPECT_EQ(fitting(text, 0), "");
}

}  // namespace
}  // namespace precis

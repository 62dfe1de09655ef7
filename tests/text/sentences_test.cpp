// Sentence boundaries: a list made by hand, and what must hold of any text.
#include "text/sentences.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "base/error.h"
#include "base/error_of.h"
#include "text/unicode.h"

namespace precis {
namespace {

// The sentences as texts.
std::vector<std::string> split(const std::string& text) {
  SentenceSplitter splitter;
  std::vector<std::string> sentences;
  size_t byte = 0;
  int64_t position = 0;
  for (const SourceSpan& span : splitter.split(text)) {
    EXPECT_EQ(span.begin, position);
    const size_t begin = byte;
    for (; position < span.end; ++position) byte += static_cast<size_t>(code_point_at(text, byte).length);
    sentences.push_back(text.substr(begin, byte - begin));
  }
  EXPECT_EQ(byte, text.size());
  return sentences;
}

using Sentences = std::vector<std::string>;

TEST(Sentences, EndAtStopsBeforeCapitals) {
  EXPECT_EQ(split("It rains. We stay in!  Why? Because."),
            (Sentences{"It rains. ", "We stay in!  ", "Why? ", "Because."}));
  EXPECT_EQ(split("He said \"Go.\" She went."), (Sentences{"He said \"Go.\" ", "She went."}));
  EXPECT_EQ(split("one sentence without a stop"), (Sentences{"one sentence without a stop"}));
}

TEST(Sentences, AbbreviationsAndNumbersEndNone) {
  EXPECT_EQ(split("Mr. Smith met Prof. Jones. They spoke."),
            (Sentences{"Mr. Smith met Prof. Jones. ", "They spoke."}));
  EXPECT_EQ(split("It costs 3.50 in all. Version 2.0 is out."),
            (Sentences{"It costs 3.50 in all. ", "Version 2.0 is out."}));
  EXPECT_EQ(split("Several, e.g. this one, are short. Others not."),
            (Sentences{"Several, e.g. this one, are short. ", "Others not."}));
}

TEST(Sentences, WrappedLinesAreOneAndBlankLinesEndOne) {
  EXPECT_EQ(split("A sentence that\nis wrapped. Another\r\none.\n"),
            (Sentences{"A sentence that\nis wrapped. ", "Another\r\none.\n"}));
  EXPECT_EQ(split("A heading\n\nThe text\n \t\nmore"),
            (Sentences{"A heading\n\n", "The text\n \t\n", "more"}));
  EXPECT_EQ(split("\n\n  Begins late. Ends."), (Sentences{"\n\n  Begins late. ", "Ends."}));
}

TEST(Sentences, OtherScriptsCountCodePoints) {
  EXPECT_EQ(split("\u00C9t\u00E9 fini. \u4ECA\u65E5\u306F\u3002\u660E\u65E5\u3002 \U0001F600 ok."),
            (Sentences{"\u00C9t\u00E9 fini. ", "\u4ECA\u65E5\u306F\u3002", "\u660E\u65E5\u3002 ",
                       "\U0001F600 ok."}));
}

TEST(Sentences, EmptyBlankAndBroken) {
  EXPECT_EQ(split(""), Sentences{});
  EXPECT_EQ(split(" \n\n "), (Sentences{" \n\n "}));
  const std::string nul("a\0. B.", 6);
  EXPECT_EQ(split(nul), (Sentences{nul.substr(0, 4), "B."}));
  SentenceSplitter splitter;
  EXPECT_NE(error_of([&] { splitter.split("ab\xFF"); }, ErrorKind::kData).find("byte offset 2"),
            std::string::npos);
}

TEST(Sentences, LinearTime) {
  // Ten megabytes in seconds: stops that end nothing, one unbroken line, line ends alone.
  for (const char* part : {"Mr. ", "a", "\n", "A b.\n"}) {
    std::string text;
    while (text.size() < 10'000'000) text += part;
    SentenceSplitter splitter;
    const auto start = std::chrono::steady_clock::now();
    const auto sentences = splitter.split(text);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(sentences.back().end, static_cast<int64_t>(text.size()));
    EXPECT_LT(seconds.count(), 30) << part;
  }
}

}  // namespace
}  // namespace precis

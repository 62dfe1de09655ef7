// Documents: every form of file gives the same rows, every bad row is named with its place.
#include "data/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/compression_for_tests.h"
#include "base/error_of.h"
#include "base/temporary_directory.h"

namespace precis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<Document> read_all(const std::filesystem::path& path, const DocumentOptions& options = {}) {
  DocumentReader reader(path, options);
  std::vector<Document> all;
  while (auto document = reader.next()) all.push_back(std::move(*document));
  return all;
}

std::string error_of(const std::filesystem::path& path, const DocumentOptions& options = {}) {
  return precis::error_of([&] { read_all(path, options); }, ErrorKind::kData);
}

class Documents : public testing::Test {
 protected:
  std::string jsonl_error(const std::string& bytes, const DocumentOptions& options = {}) {
    return error_of(folder_.write("d.jsonl", bytes), options);
  }
  std::vector<Document> jsonl(const std::string& bytes, const DocumentOptions& options = {}) {
    return read_all(folder_.write("d.jsonl", bytes), options);
  }
  TemporaryDirectory folder_;
};

TEST_F(Documents, ATextIsOneDocumentAsItStands) {
  const std::string text = "# Title\r\n\r\n  text \xE2\x80\xA8 more\n\n";
  for (const char* name : {"a.txt", "a.md", "a", "-x", "cat x |"}) {
    const auto path = folder_.write(name, text);
    const auto all = read_all(path);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].text, text);
    EXPECT_EQ(all[0].id, path.string());
    EXPECT_THAT(all[0].summaries, IsEmpty());
  }
  EXPECT_EQ(read_all(folder_.write("bom.txt", "\xEF\xBB\xBF" + text + "\xEF\xBB\xBF"))[0].text,
            text + "\xEF\xBB\xBF");
  EXPECT_EQ(read_all(folder_.write("empty.txt", ""))[0].text, "");
  EXPECT_EQ(read_all(folder_.write("a.txt.gz", gzip(text)))[0].text, text);
  EXPECT_EQ(read_all(folder_.write("a.md.zst", zstd(text)))[0].text, text);
}

TEST_F(Documents, ATextWithInvalidUtf8IsRefusedOrRepaired) {
  const auto path = folder_.write("a.txt", "one\ntwo \xFF\xE2\x82 three");
  EXPECT_THAT(error_of(path), HasSubstr("a.txt:2: invalid UTF-8; found byte 0xFF at byte offset 8"));
  DocumentReader reader(path, {.replace_invalid_utf8 = true});
  EXPECT_EQ(reader.next()->text, "one\ntwo \xEF\xBF\xBD\xEF\xBF\xBD three");
  EXPECT_EQ(reader.replaced_bytes(), 2);
  EXPECT_THAT(error_of(folder_.write("a.txt", "\xEF\xBB\xBF\xC0\x80")), HasSubstr("byte offset 3"));
}

TEST_F(Documents, RowsHaveIdsQueriesAndReferences) {
  const auto all = jsonl(
      "{\"document\": \"d1\", \"summary\": \"s1\"}\n"
      "\n \t\r\n"
      "{\"id\": \"x\", \"article\": \"d2\", \"highlights\": \"s2\", \"query\": \"q\"}\r\n"
      "{\"id\": 17, \"article\": \"d3\", \"abstract\": \"s3\"}\n"
      "{\"report\": \"d4\", \"summary\": \"s4\", \"query\": null}\n"
      "{\"document\": \"d5\", \"summaries\": [\"a\", \"b\"], \"summary\": \"c\"}\n"
      "{\"document\": \"d6\", \"highlights\": \"not its field\"}\n"
      "{\"document\": \"d\xE2\x80\xA8"
      "7\", \"summary\": null}");
  ASSERT_EQ(all.size(), 7u);
  EXPECT_EQ(all[0].id, "1");
  EXPECT_EQ(all[0].text, "d1");
  EXPECT_THAT(all[0].summaries, ElementsAre("s1"));
  EXPECT_FALSE(all[0].query.has_value());
  EXPECT_EQ(all[1].id, "x");
  EXPECT_EQ(all[1].line, 4);
  EXPECT_THAT(all[1].where, testing::EndsWith("d.jsonl:4"));
  EXPECT_EQ(all[1].query, "q");
  EXPECT_THAT(all[1].summaries, ElementsAre("s2"));
  EXPECT_EQ(all[2].id, "17");
  EXPECT_THAT(all[2].summaries, ElementsAre("s3"));
  EXPECT_THAT(all[3].summaries, ElementsAre("s4"));
  EXPECT_FALSE(all[3].query.has_value());
  EXPECT_THAT(all[4].summaries, ElementsAre("a", "b"));
  EXPECT_THAT(all[5].summaries, IsEmpty());
  EXPECT_EQ(all[6].id, "9");
  EXPECT_EQ(all[6].text,
            "d\xE2\x80\xA8"
            "7");  // other line separators end nothing
  EXPECT_THAT(all[6].summaries, IsEmpty());
}

TEST_F(Documents, NamedFieldsMustBeThere) {
  const DocumentOptions options = {.document_field = "body", .summary_field = "gist", .query_field = "ask"};
  const auto all = jsonl(
      "{\"body\": \"b\", \"gist\": [\"g\", \"h\"], \"ask\": \"a\", \"document\": \"no\", \"query\": "
      "\"no\"}\n",
      options);
  EXPECT_EQ(all[0].text, "b");
  EXPECT_THAT(all[0].summaries, ElementsAre("g", "h"));
  EXPECT_EQ(all[0].query, "a");
  EXPECT_THAT(jsonl_error("{\"document\": \"b\"}", options),
              HasSubstr("d.jsonl:1: no field 'body' in the row"));
  EXPECT_THAT(jsonl_error("{\"body\": \"b\", \"ask\": \"a\"}", options), HasSubstr("no field 'gist'"));
  EXPECT_THAT(jsonl_error("{\"body\": \"b\", \"gist\": \"g\"}", options), HasSubstr("no field 'ask'"));
  EXPECT_THAT(jsonl_error("{\"body\": \"b\", \"gist\": null, \"ask\": \"a\"}", options),
              HasSubstr("bad field 'gist'; expected a string, found null"));
}

TEST_F(Documents, SummariesThatAreNotWantedAreNotLookedAt) {
  const auto all = jsonl(
      "{\"document\": \"d\", \"summaries\": null}\n{\"document\": \"d\", \"summary\": 5}\n"
      "{\"document\": \"d\", \"summary\": \"s\"}\n",
      {.summaries = false});
  ASSERT_EQ(all.size(), 3u);
  EXPECT_THAT(all[2].summaries, IsEmpty());
}

TEST_F(Documents, TheSameRowsFromEveryPacking) {
  const std::string rows = "{\"document\": \"one\"}\n{\"document\": \"two\"}";
  const auto expect = [&](const std::filesystem::path& path, const DocumentOptions& options = {}) {
    const auto all = read_all(path, options);
    ASSERT_EQ(all.size(), 2u) << path;
    EXPECT_EQ(all[0].text, "one");
    EXPECT_EQ(all[1].text, "two");
    EXPECT_EQ(all[1].id, "2");
  };
  expect(folder_.write("a.jsonl", rows));
  expect(folder_.write("b.jsonl", rows + "\n"));
  expect(folder_.write("c.ndjson", "\xEF\xBB\xBF" + rows + "\r\n\n"));
  expect(folder_.write("d.jsonl.gz", gzip(rows.substr(0, 10)) + gzip(rows.substr(10))));
  expect(folder_.write("e.jsonl.zst", zstd(rows.substr(0, 25)) + zstd(rows.substr(25))));
  expect(folder_.write("f.txt", rows), {.format = InputFormat::kJsonLines});
  EXPECT_EQ(read_all(folder_.write("g.jsonl", rows), {.format = InputFormat::kText})[0].text, rows);
}

TEST_F(Documents, BadRowsAreNamedWithLineAndColumn) {
  const std::string good = "{\"document\": \"d\"}\n";
  EXPECT_THAT(jsonl_error(good + good + "{\"document\": }\n"), HasSubstr("d.jsonl:3:14: bad JSON"));
  EXPECT_THAT(jsonl_error(good + "{\"document\": \"a\", \"document\": \"b\"}"),
              HasSubstr("d.jsonl:2:19: duplicate key"));
  EXPECT_THAT(jsonl_error(good + "[1]"),
              HasSubstr("d.jsonl:2: bad row; expected a JSON object, found array"));
  EXPECT_THAT(jsonl_error(good + "{}"), HasSubstr("d.jsonl:2: no document in the row"));
  EXPECT_THAT(jsonl_error(good + "{\"document\": 3}"),
              HasSubstr("d.jsonl:2: bad field 'document'; expected a string, found number"));
  EXPECT_THAT(jsonl_error("{\"document\": \"d\", \"summary\": 3}"), HasSubstr("bad field 'summary'"));
  EXPECT_THAT(jsonl_error("{\"document\": \"d\", \"summary\": [\"a\"]}"),
              HasSubstr("goes under 'summaries'"));
  EXPECT_THAT(jsonl_error("{\"document\": \"d\", \"summaries\": \"x\"}"),
              HasSubstr("bad field 'summaries'; expected a list"));
  EXPECT_THAT(jsonl_error("{\"document\": \"d\", \"summaries\": [1]}"), HasSubstr("bad field 'summaries'"));
  EXPECT_THAT(jsonl_error("{\"document\": \"d\", \"query\": 1}"), HasSubstr("bad field 'query'"));
  EXPECT_THAT(jsonl_error("{\"document\": \"d\", \"id\": 1.5}"), HasSubstr("bad field 'id'"));
  EXPECT_THAT(jsonl_error(good + "\xEF\xBB\xBF" + good),
              HasSubstr("d.jsonl:2:1: bad JSON: a byte order mark"));
  EXPECT_THAT(jsonl_error(good + "{\"document\": \"\xFF\"}"),
              HasSubstr("d.jsonl:2:15: invalid UTF-8; found byte 0xFF at byte offset 32"));
  EXPECT_THAT(jsonl_error(good + "{\"document\": \"\\ud800\"}"),
              HasSubstr("d.jsonl:2:15: lone surrogate in a JSON string; found \\ud800 at byte offset 32"));
  EXPECT_THAT(jsonl_error("\xEF\xBB\xBF{\"document\": \"\xFF\"}"), HasSubstr("at byte offset 17"));
}

TEST_F(Documents, BadRowsAreSkippedUpToACountAndCounted) {
  const std::string rows =
      "{\"document\": \"a\"}\nbad\n{}\n{\"document\": \"b\"}\n3\n{\"document\": \"c\"}\n";
  const auto path = folder_.write("d.jsonl", rows);
  DocumentReader reader(path, {.skip_bad_lines = 3});
  std::string texts;
  while (auto document = reader.next()) texts += document->text + document->id;
  EXPECT_EQ(texts, "a1b4c6");
  EXPECT_EQ(reader.skipped_lines(), 3);
  EXPECT_THAT(reader.last_skip_reason(), HasSubstr("d.jsonl:5: bad row"));
  EXPECT_THAT(error_of(path, {.skip_bad_lines = 2}), HasSubstr("d.jsonl:5: bad row"));
}

TEST(OnBadLine, IsErrorOrSkipAndANumber) {
  EXPECT_EQ(parse_on_bad_line("error"), 0);
  EXPECT_EQ(parse_on_bad_line("skip:1"), 1);
  EXPECT_EQ(parse_on_bad_line("skip:250000"), 250000);
  for (const char* bad : {"", "skip", "skip:", "skip:0", "skip:-1", "skip:1.5", "skip:1 ",
                          "skip:99999999999999999999", "Skip:1", "errors"}) {
    EXPECT_EQ(parse_on_bad_line(bad), std::nullopt) << bad;
  }
}

TEST_F(Documents, InvalidUnicodeIsReplacedWhereAskedAndCounted) {
  const auto path = folder_.write(
      "d.jsonl", "{\"document\": \"a\xFFz\\ud800\", \"summary\": \"\\udc00\"}\n{\"document\": \"ok\"}\n");
  DocumentReader reader(path, {.replace_invalid_utf8 = true});
  const auto first = reader.next();
  EXPECT_EQ(first->text, "a\xEF\xBF\xBDz\xEF\xBF\xBD");
  EXPECT_THAT(first->summaries, ElementsAre("\xEF\xBF\xBD"));
  EXPECT_EQ(reader.next()->text, "ok");
  EXPECT_EQ(reader.replaced_bytes(), 3);
}

TEST_F(Documents, LinesAreBounded) {
  const std::string row = "{\"document\": \"" + std::string(1000, 'x') + "\"}";
  const auto limit = static_cast<int64_t>(row.size());
  const auto path = folder_.write("d.jsonl", row + "\n" + row + "y\n" + row);
  EXPECT_THAT(error_of(path, {.max_line_bytes = limit}), HasSubstr("d.jsonl:2: line too long"));
  DocumentReader reader(path, {.skip_bad_lines = 1, .max_line_bytes = limit});
  EXPECT_EQ(reader.next()->line, 1);
  EXPECT_EQ(reader.next()->line, 3);
  EXPECT_THAT(error_of(folder_.write("t.txt", "12345"), {.max_line_bytes = 4}), HasSubstr("text too long"));
  EXPECT_EQ(error_of(folder_.write("t.txt", "1234"), {.max_line_bytes = 4}), "no error");
}

TEST_F(Documents, AnEndlessLineIsAnErrorAtItsBound) {
  const DocumentOptions options = {.format = InputFormat::kJsonLines, .max_line_bytes = 1 << 20};
  EXPECT_THAT(error_of("/dev/zero", options), HasSubstr("/dev/zero:1: line too long"));
}

TEST_F(Documents, WhatComesBehindALineTooLongKeepsItsPlace) {
  // Several buffers of the reader long.
  const std::string rows = "{\"document\": \"" + std::string(1'000'000, 'x') +
                           "\"}\n{\"document\": \"a\"}\n{\"document\": \"\xFF\"}";
  const auto path = folder_.write("d.jsonl", rows);
  DocumentReader reader(path, {.skip_bad_lines = 1, .max_line_bytes = 1000});
  EXPECT_EQ(reader.next()->line, 2);
  EXPECT_THAT(precis::error_of([&] { reader.next(); }, ErrorKind::kData),
              HasSubstr("d.jsonl:3:15: invalid UTF-8; found byte 0xFF at byte offset " +
                        std::to_string(rows.size() - 3)));
}

TEST_F(Documents, ABombOfOneLineEndsInAnErrorInBoundedMemory) {
  std::string bomb;
  const std::string member = zstd(std::string(size_t{1} << 24, 'x'));
  for (int i = 0; i < 16; ++i) bomb += member;
  const auto path = folder_.write("d.jsonl.zst", bomb);
  const size_t before = resident_bytes();
  EXPECT_THAT(error_of(path, {.max_line_bytes = 1 << 20}), HasSubstr("d.jsonl.zst:1: line too long"));
  EXPECT_LT(resident_bytes(), before + (size_t{1} << 26));
}

TEST_F(Documents, LongLinesSpanBuffers) {
  std::string rows;
  for (int i = 0; i < 50; ++i)
    rows += "{\"document\": \"" + std::string(static_cast<size_t>(i) * 21001, 'a' + i % 26) + "\"}\n";
  const auto all = jsonl(rows);
  ASSERT_EQ(all.size(), 50u);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(all[static_cast<size_t>(i)].text, std::string(static_cast<size_t>(i) * 21001, 'a' + i % 26));
  }
}

TEST_F(Documents, WhatIsNoFileOrCutShortIsSaid) {
  EXPECT_THAT(error_of(folder_.path()), HasSubstr("a directory where a file is needed"));
  EXPECT_THAT(error_of(folder_ / "none.jsonl"), HasSubstr("no such file"));
  const std::string packed = gzip("{\"document\": \"d\"}\n");
  EXPECT_THAT(
      error_of(folder_.write("d.jsonl.gz", packed.substr(0, packed.size() - 4)), {.skip_bad_lines = 9}),
      HasSubstr("cut short"));
  EXPECT_TRUE(jsonl("").empty());
  EXPECT_TRUE(jsonl("\n\n \n").empty());
}

TEST_F(Documents, FormatsHaveNames) {
  EXPECT_EQ(parse_input_format("text"), InputFormat::kText);
  EXPECT_EQ(parse_input_format("jsonl"), InputFormat::kJsonLines);
  EXPECT_THROW(parse_input_format("csv"), Error);
}

}  // namespace
}  // namespace precis

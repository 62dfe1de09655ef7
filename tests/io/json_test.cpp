// Strict JSON: every input that the lenient parser lets through is an error with its place.
#include "io/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error_of.h"

namespace precis {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::string& text, TextOrigin origin = {}) {
  return precis::error_of([&] { parse_json(text, "f.json", ErrorKind::kData, origin); }, ErrorKind::kData);
}

TEST(Json, KeepsValuesAndTheOrderOfKeys) {
  const Json value = parse_json(R"({"z":[1,-2,3.5,true,null,"\u00e9\ud83d\ude00"],"a":{"b":{}}, "m":[]})",
                                "f", ErrorKind::kData);
  EXPECT_EQ(value.dump(),
            "{\"z\":[1,-2,3.5,true,null,\"\xC3\xA9\xF0\x9F\x98\x80\"],\"a\":{\"b\":{}},\"m\":[]}");
  EXPECT_EQ(parse_json(" 7 \n", "f", ErrorKind::kData), Json(7));
  EXPECT_EQ(parse_json("18446744073709551615", "f", ErrorKind::kData).get<uint64_t>(), UINT64_MAX);
}

TEST(Json, RefusesDuplicateKeysWhereTheSecondStands) {
  EXPECT_THAT(error_of("{\"a\": 1,\n \"b\": 2, \"a\": 3}"),
              HasSubstr("f.json:2:10: duplicate key; found 'a'"));
  // The same key under another spelling, and with quotes inside.
  EXPECT_THAT(error_of(R"({"a\"b":1,"\u0061\"b":2})"), HasSubstr("f.json:1:11: duplicate key"));
  EXPECT_EQ(error_of(R"([{"a":1},{"a":2}])"), "no error");
  // Objects too large to walk are indexed.
  std::string large = "{";
  for (int i = 0; i < 50000; ++i) large += "\"k" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  EXPECT_EQ(parse_json(large + "\"x\":1}", "f", ErrorKind::kData).size(), 50001u);
  EXPECT_THAT(error_of(large + "\"k3\":1}"), HasSubstr("duplicate key; found 'k3'"));
  EXPECT_THAT(error_of(large + "\"k49999\":1}"), HasSubstr("duplicate key; found 'k49999'"));
}

TEST(Json, NamesTheByteOfInvalidUtf8AndOfLoneSurrogates) {
  EXPECT_THAT(error_of("{\"\xC3\xA9\": \"a\xFF\"}"),
              HasSubstr("f.json:1:9: invalid UTF-8; found byte 0xFF at byte offset 9"));
  EXPECT_THAT(error_of("\"\xC0\x80\""), HasSubstr("invalid UTF-8"));      // overlong
  EXPECT_THAT(error_of("\"\xED\xA0\x80\""), HasSubstr("invalid UTF-8"));  // a surrogate
  EXPECT_THAT(error_of("\"\xF4\x90\x80\x80\""), HasSubstr("invalid UTF-8"));
  EXPECT_THAT(error_of("\"\xE2\x82"), HasSubstr("invalid UTF-8"));  // cut short
  EXPECT_THAT(error_of(R"(["ok", "x\ud83dy"])"),
              HasSubstr("f.json:1:10: lone surrogate in a JSON string; found \\ud83d at byte offset 9"));
  EXPECT_THAT(error_of(R"("\ude00")"), HasSubstr("lone surrogate"));
  EXPECT_THAT(error_of(R"("\ud83d\ud83d\ude00")"), HasSubstr("lone surrogate"));
  EXPECT_THAT(error_of(R"("a\ud83d)"), HasSubstr("lone surrogate"));
  EXPECT_EQ(error_of(R"("\\ud83d")"), "no error");
  EXPECT_THAT(error_of("\"\xFF\"", {.line = 7, .byte = 100}),
              HasSubstr("f.json:7:2: invalid UTF-8; found byte 0xFF at byte offset 101"));
}

TEST(Json, RefusesNumbersOutOfRange) {
  EXPECT_THAT(error_of("[1, 1e400]"), HasSubstr("f.json:1:5: number out of range; found 1e400"));
  EXPECT_THAT(error_of("-1e400"), HasSubstr("number out of range"));
  EXPECT_THAT(error_of("NaN"), HasSubstr("bad JSON"));
  EXPECT_THAT(error_of("Infinity"), HasSubstr("bad JSON"));
  EXPECT_THAT(error_of("010"), HasSubstr("bad JSON"));
  EXPECT_TRUE(parse_json("1000000000000000019884624838656", "f", ErrorKind::kData).is_number_float());
}

TEST(Json, RefusesWhatIsNotOneDocument) {
  EXPECT_THAT(error_of("{} x"), HasSubstr("f.json:1:4: bad JSON"));
  EXPECT_THAT(error_of("{}\n{}"), HasSubstr("f.json:2:1: bad JSON"));
  EXPECT_THAT(error_of(""), HasSubstr("f.json:1:1: bad JSON"));
  EXPECT_THAT(error_of("{\"a\":1,}"), HasSubstr("f.json:1:8: bad JSON"));
  EXPECT_THAT(error_of("// c\n1"), HasSubstr("bad JSON"));
  EXPECT_THAT(error_of(std::string("1\0x", 3)), HasSubstr("f.json:1:2: bad JSON: a NUL byte"));
  EXPECT_THAT(error_of("\xEF\xBB\xBF{}"), HasSubstr("byte order mark"));
  EXPECT_THAT(error_of("\"a\nb\""), HasSubstr("bad JSON"));
}

TEST(Json, BoundsDepthHoweverDeepTheText) {
  const auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(error_of(nested(kMaxJsonDepth)), "no error");
  EXPECT_THAT(error_of(nested(kMaxJsonDepth + 1)), HasSubstr("f.json:1:201: JSON nested too deeply"));
  EXPECT_THAT(error_of(nested(1000000)), HasSubstr("JSON nested too deeply"));
  std::string objects;
  for (int i = 0; i < 1000000; ++i) objects += "{\"a\":";
  EXPECT_THAT(error_of(objects), HasSubstr("JSON nested too deeply"));
}

TEST(Json, EveryPrefixOfADocumentIsAnError) {
  const std::string text = R"({"a": [1.5e3, "x\ud83d\ude00", {"b": null}], "c": false})";
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_NE(error_of(text.substr(0, length)), "no error") << length;
  }
}

TEST(Json, RepairsUnicodeWhereAskedAndCounts) {
  int64_t replaced = 0;
  const std::string repaired =
      replace_invalid_unicode_in_json("[\"\xE2\x82z\xFF\", \"\\ud83d\\n\\ude00 \\ud83d\\ude00\"]", replaced);
  EXPECT_EQ(replaced, 4);  // E2 82 is one maximal subpart
  EXPECT_EQ(parse_json(repaired, "f", ErrorKind::kData),
            Json::array({"\xEF\xBF\xBDz\xEF\xBF\xBD", "\xEF\xBF\xBD\n\xEF\xBF\xBD \xF0\x9F\x98\x80"}));
}

TEST(Json, WritesBytesThatAreNoUtf8AsReplacementCharacters) {
  EXPECT_EQ(dump_json({{"id", "a\xFF/\xC3\xA9"}}), "{\"id\":\"a\xEF\xBF\xBD/\xC3\xA9\"}");
  EXPECT_EQ(dump_json(Json::array({"\xFF"}), 2), "[\n  \"\xEF\xBF\xBD\"\n]");
}

TEST(Json, ReadsFilesAndNamesMissingOnes) {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "precis_json_test.json";
  std::ofstream(path) << "{\"a\": [1, 2]}\n";
  EXPECT_EQ(read_json_file(path, ErrorKind::kModel)["a"][1], 2);
  std::filesystem::remove(path);
  try {
    read_json_file(path, ErrorKind::kModel);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kModel);
    EXPECT_THAT(error.what(), HasSubstr("precis_json_test.json: no such file"));
  }
  EXPECT_THROW(read_json_file(testing::TempDir(), ErrorKind::kModel), Error);
}

}  // namespace
}  // namespace precis

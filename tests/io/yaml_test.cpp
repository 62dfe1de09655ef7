// Strict YAML: what yaml-cpp lets through or guesses is an error with its place.
#include "io/yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_of.h"

namespace precis {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::string& text) {
  return precis::error_of([&] { parse_yaml(text, "c.yaml"); }, ErrorKind::kConfig);
}

YamlNode scalar(const std::string& text) { return *parse_yaml("k: " + text + "\n", "c.yaml").find("k"); }

TEST(Yaml, KeepsOrderPlacesAndText) {
  const YamlNode root = parse_yaml(
      "---\n# a comment\nb: {x: [1, \"2\", ~], y: 'z'}\na:\n  deep:\n  - one\n  - |\n    two\nempty:\n",
      "c.yaml");
  ASSERT_EQ(root.members.size(), 3u);
  EXPECT_EQ(root.members[0].key, "b");
  EXPECT_EQ(root.members[0].line, 3);
  const YamlNode& list = *root.find("b")->find("x");
  EXPECT_EQ(list.items[0].text, "1");
  EXPECT_FALSE(list.items[0].quoted);
  EXPECT_TRUE(list.items[1].quoted);
  EXPECT_EQ(list.items[2].kind, YamlNode::Kind::kNull);
  const YamlNode& deep = *root.find("a")->find("deep");
  EXPECT_EQ(deep.items[0].where(), "c.yaml:6:5");
  EXPECT_EQ(deep.items[1].text, "two\n");
  EXPECT_EQ(root.find("empty")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.find("missing"), nullptr);
  EXPECT_EQ(parse_yaml("", "c").kind, YamlNode::Kind::kNull);
  EXPECT_EQ(to_json(root).dump(),
            R"({"b":{"x":[1,"2",null],"y":"z"},"a":{"deep":["one","two\n"]},"empty":null})");
}

TEST(Yaml, RefusesWhatAConfigurationHasNoUseFor) {
  EXPECT_THAT(error_of("a: 1\nb: 2\na: 3\n"), HasSubstr("c.yaml:3:1: duplicate key 'a'; first on line 1"));
  EXPECT_THAT(error_of("a: {b: 1, b: 2}\n"), HasSubstr("c.yaml:1:11: duplicate key 'b'"));
  EXPECT_THAT(error_of("a: 1\n\tb: 2\n"), HasSubstr("c.yaml:2:1: a tab"));
  EXPECT_THAT(error_of(std::string("a: 1\0\n", 6)), HasSubstr("c.yaml:1:5: a NUL byte"));
  EXPECT_THAT(error_of("a: \xFF\n"),
              HasSubstr("c.yaml:1:4: invalid UTF-8; found byte 0xFF at byte offset 3"));
  EXPECT_THAT(error_of("a: &x 1\n"), HasSubstr("c.yaml:1:4: anchors are not supported"));
  EXPECT_THAT(error_of("a: &x [1]\nb: *x\n"), HasSubstr("anchors are not supported"));
  EXPECT_THAT(error_of("b: *x\n"), HasSubstr("bad YAML"));
  EXPECT_THAT(error_of("a: !!str 1\n"), HasSubstr("tags are not supported"));
  EXPECT_THAT(error_of("a: !python/object [1]\n"), HasSubstr("tags are not supported"));
  EXPECT_THAT(error_of("a: 1\n---\nb: 2\n"), HasSubstr("c.yaml:2:1: a second document"));
  EXPECT_THAT(error_of("[a]: 1\n"), HasSubstr("a key must be a single word"));
  EXPECT_THAT(error_of("~: 1\n"), HasSubstr("a key that is empty or null"));
  EXPECT_THAT(error_of("a: [1\n"), HasSubstr("bad YAML"));
  EXPECT_THAT(error_of("a: 1\n  b: 2\n"), HasSubstr("c.yaml:2:"));
}

TEST(Yaml, RefusesAnAliasBombAtItsFirstAnchor) {
  std::string bomb = "a: &a [x, x, x]\n";
  for (char c = 'b'; c < 'z'; ++c) {
    const std::string before = std::string("*") + static_cast<char>(c - 1);
    bomb += std::string(1, c) + ": &" + c + " [" + before + ", " + before + "]\n";
  }
  EXPECT_THAT(error_of(bomb), HasSubstr("c.yaml:1:4: anchors are not supported"));
}

TEST(Yaml, BoundsDepth) {
  EXPECT_THAT(error_of("a: " + std::string(150, '[') + std::string(150, ']')),
              HasSubstr("nested too deeply"));
  EXPECT_NE(error_of(std::string(100000, '[')), "no error");
  EXPECT_NE(error_of(std::string(100000, '{')), "no error");
  std::string dashes;
  for (int i = 0; i < 100000; ++i) dashes += "- ";
  EXPECT_NE(error_of(dashes), "no error");
}

TEST(Yaml, ConvertsOnlyWhatIsWrittenAsSuch) {
  EXPECT_EQ(yaml_integer(scalar("10"), "k"), 10);
  EXPECT_EQ(yaml_integer(scalar("-3"), "k"), -3);
  EXPECT_EQ(yaml_integer(scalar("0"), "k"), 0);
  for (const char* text : {"010", "1e-5", "0x10", "0o7", "1_000", "1.0", "+1", "\"1\"", "9223372036854775808",
                           "yes", "-", "1 2", "~", "[1]", "0b1", "-01"}) {
    EXPECT_THROW(yaml_integer(scalar(text), "k"), Error) << text;
  }
  EXPECT_EQ(yaml_real(scalar("1e-4"), "k"), 1e-4);
  EXPECT_EQ(yaml_real(scalar("1.0e-4"), "k"), 1e-4);
  EXPECT_EQ(yaml_real(scalar("-2"), "k"), -2.0);
  EXPECT_EQ(yaml_real(scalar("0.1"), "k"), 0.1);
  EXPECT_EQ(yaml_real(scalar("1E+3"), "k"), 1000.0);
  for (const char* text :
       {"1e400", ".nan", ".inf", "nan", "inf", "1e", "1e+", "0x1p3", "01.5", "'1.0'", "1,5", "true"}) {
    EXPECT_THROW(yaml_real(scalar(text), "k"), Error) << text;
  }
  EXPECT_TRUE(yaml_boolean(scalar("true"), "k"));
  EXPECT_FALSE(yaml_boolean(scalar("false"), "k"));
  for (const char* text : {"yes", "no", "on", "True", "1", "\"true\"", "y", "~"}) {
    EXPECT_THROW(yaml_boolean(scalar(text), "k"), Error) << text;
  }
  EXPECT_EQ(yaml_string(scalar("a word"), "k"), "a word");
  EXPECT_EQ(yaml_string(scalar("yes"), "k"), "yes");
  EXPECT_EQ(yaml_string(scalar("'12'"), "k"), "12");
  EXPECT_EQ(yaml_string(scalar("\"\""), "k"), "");
  for (const char* text : {"12", "1.5", "true", "~", "", "{a: b}"}) {
    EXPECT_THROW(yaml_string(scalar(text), "k"), Error) << text;
  }
}

TEST(Yaml, ErrorsOfTypeNameKeyPlaceAndValue) {
  try {
    yaml_integer(*parse_yaml("a: 1\nsteps: 1e-5\n", "c.yaml").find("steps"), "steps");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "c.yaml:2:8: bad value for 'steps'; expected an integer, found '1e-5'");
  }
}

TEST(Yaml, EveryByteAtEveryPlaceGivesAValueOrATypedError) {
  const std::string text = "a: {b: [1, \"x\"]}\nc: |\n  y\n";
  for (size_t at = 0; at <= text.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte)
      error_of(text.substr(0, at) + static_cast<char>(byte) + text.substr(at));
  }
}

}  // namespace
}  // namespace precis

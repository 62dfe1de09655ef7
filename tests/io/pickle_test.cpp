// Pickles: what Python wrote is read as it was; nothing else than plain data is taken, whatever the bytes.
#include "io/pickle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/error_of.h"
#include "io/torch_bytes_for_tests.h"

namespace precis {
namespace {

using ::testing::HasSubstr;
using Kind = PickleValue::Kind;

constexpr const char* kAllowed[] = {"collections.OrderedDict", "m.f"};

Pickle parse(const std::string& bytes) { return parse_pickle(bytes, "file", kAllowed); }

std::string refusal(const std::string& bytes) {
  return error_of([&] { parse(bytes); }, ErrorKind::kModel);
}

std::string from_hex(std::string_view digits) {
  std::string bytes;
  for (size_t i = 0; i < digits.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

// As Python shows it, near enough.
std::string shown(const Pickle& pickle, PickleIndex index) {
  const PickleValue& value = pickle.at(index);
  std::string items;
  for (size_t i = 0; i < value.items.size(); ++i) {
    const bool is_value = value.kind == Kind::kDict && i % 2 == 1;
    items += (i == 0 ? "" : is_value ? ": " : ", ") + shown(pickle, value.items[i]);
  }
  switch (value.kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.integer == 1 ? "True" : "False";
    case Kind::kInteger:
      return std::to_string(value.integer);
    case Kind::kLong:
      return "long of " + std::to_string(value.text.size()) + " bytes";
    case Kind::kReal:
      return std::to_string(value.real);
    case Kind::kText:
      return '\'' + value.text + '\'';
    case Kind::kTuple:
      return '(' + items + ')';
    case Kind::kList:
      return '[' + items + ']';
    case Kind::kDict:
      return '{' + items + '}';
    case Kind::kGlobal:
      return value.text;
    case Kind::kCall:
      return "call(" + items + ')';
    case Kind::kPersistent:
      return "persistent(" + items + ')';
  }
  return "";
}

std::string shown(const std::string& bytes) {
  const Pickle pickle = parse(bytes);
  return shown(pickle, pickle.root);
}

// pickle.dumps({"a": [1, -2, 300, 70000, 2**40, 2**70, 1.5, None, True, (1,), (), "\u00e9"]}, protocol=P)
constexpr std::string_view kProtocol2 =
    "80027d710058010000006171015d7102284b014afeffffff4d2c014a701101008a060000000000018a0900000000000000004047"
    "3ff80000000000004e884b01857103295802000000c3a9710465732e";
constexpr std::string_view kProtocol4 =
    "80049543000000000000007d948c0161945d94284b014afeffffff4d2c014a701101008a060000000000018a0900000000000000"
    "0040473ff80000000000004e884b018594298c02c3a99465732e";

TEST(Pickle, ReadsWhatPythonWrote) {
  const std::string expected =
      "{'a': [1, -2, 300, 70000, 1099511627776, long of 9 bytes, 1.500000, None, True, (1), (), '\u00e9']}";
  EXPECT_EQ(shown(from_hex(kProtocol2)), expected);
  EXPECT_EQ(shown(from_hex(kProtocol4)), expected);
  std::string protocol_5 = from_hex(kProtocol4);
  protocol_5[1] = '\5';
  EXPECT_EQ(shown(protocol_5), expected);
  // OrderedDict(a=1), protocols 2 and 4.
  EXPECT_EQ(
      shown(from_hex("800263636f6c6c656374696f6e730a4f726465726564446963740a71002952710158010000006171024b0"
                     "1732e")),
      "{'a': 1}");
  EXPECT_EQ(
      shown(from_hex("80049529000000000000008c0b636f6c6c656374696f6e73948c0b4f7264657265644469637494939429529"
                     "48c0161944b01732e")),
      "{'a': 1}");
}

TEST(Pickle, ReadsEachOfItsOperations) {
  EXPECT_EQ(shown(whole_pickle("(U\2abT\3" + std::string(3, '\0') + "cdet")), "('ab', 'cde')");
  EXPECT_EQ(shown(whole_pickle("\x8A" + std::string(1, '\0'))), "0");
  EXPECT_EQ(shown(whole_pickle("\x8A\1\xFF")), "-1");
  EXPECT_EQ(shown(whole_pickle("\x89N\x86\x88N\x87"
                               "0N")),
            "None");
  EXPECT_EQ(shown(whole_pickle("]Na(K\1K\2eNa")), "[None, 1, 2, None]");
  EXPECT_EQ(shown(whole_pickle("(K\1K\2"
                               "1N")),
            "None");
  EXPECT_EQ(shown(whole_pickle("(0N")), "None");
  EXPECT_EQ(shown(whole_pickle("K\7q\5r" + le(70000, 4) + "h\5j" + le(70000, 4) + "\x87")), "(7, 7, 7)");
  EXPECT_EQ(shown(whole_pickle("K\1Q")), "persistent(1)");
  EXPECT_EQ(shown(whole_pickle(pickled_call(pickled_global("m", "f"), {pickled(3)}))), "call(m.f, (3))");
  EXPECT_EQ(shown(whole_pickle("\x8C\1m\x8C\1f\x93")), "m.f");
  // Python 2 and 3.4 give OrderedDict its pairs; BUILD gives it attributes.
  EXPECT_EQ(
      shown(whole_pickle(pickled_call(pickled_global("collections", "OrderedDict"), {"](]K\1aK\2aK\3K\4\x86"
                                                                                     "e"}))),
      "{1: 2, 3: 4}");
  EXPECT_EQ(shown(whole_pickle(kOrderedDict + "}K\1K\2sb")), "{}");
}

TEST(Pickle, SaysWhereItEnds) {
  const std::string bytes = whole_pickle("N");
  EXPECT_EQ(parse(bytes + "whatever").size, bytes.size());
}

TEST(Pickle, RefusesEveryGlobalThatIsNotAllowed) {
  for (const std::string& global : {std::string("cos\nsystem\n"), std::string("\x8C\2os\x8C\6system\x93")}) {
    const std::string attack = whole_pickle(global + pickled_tuple({pickled("touch /tmp/x")}) + 'R');
    EXPECT_THAT(refusal(attack), HasSubstr("\"os.system\"")) << global;
    EXPECT_THAT(refusal(attack), HasSubstr("can run any code"));
  }
  EXPECT_THAT(refusal(whole_pickle("cposix\nsystem\n")), HasSubstr("file: byte 2 of the pickle"));
  EXPECT_THAT(refusal(whole_pickle("cm\nf2\n")), HasSubstr("\"m.f2\""));
  EXPECT_THAT(refusal(whole_pickle("cm.f\n\n")), HasSubstr("\"m.f.\""));
  EXPECT_THAT(refusal(whole_pickle("cm\n" + std::string(1000, 'f') + '\n')),
              HasSubstr("a name without an end"));
  // Other ways to make an object: protocol 0 and 1, NEWOBJ, extensions.
  for (const char* other : {"(ios\nsystem\n", "(oN", "N)\x81", "\x82\1", "I1\n", "S'x'\n", "\x97"}) {
    EXPECT_THAT(refusal(whole_pickle(other)), HasSubstr("an opcode that plain data does not need"));
  }
}

TEST(Pickle, RefusesWhatItsMachineCannotDo) {
  EXPECT_THAT(refusal(""), HasSubstr("cut short"));
  EXPECT_THAT(refusal("\x80\1N."), HasSubstr("another protocol"));
  EXPECT_THAT(refusal("\x80\6N."), HasSubstr("another protocol"));
  for (const char* under :
       {".", "0.", "K\1(.",
        "K\1(0"
        "0.",
        "K\1(\x85", "K\1(K\2\x86", "a", "K\1a", "q\1", "(q\1", "Q", "b", "Nb", "R", "\x93", "]((e"}) {
    EXPECT_THAT(refusal(std::string("\x80\2") + under), HasSubstr("takes more values than it has given"))
        << under;
  }
  for (const char* unmarked : {"t", "1", "e", "u"}) {
    EXPECT_THAT(refusal(unmarked), HasSubstr("no mark")) << unmarked;
  }
  EXPECT_THAT(refusal("h\1"), HasSubstr("did not remember"));
  EXPECT_THAT(refusal("}(Nu"), HasSubstr("a key without its value"));
  for (const char* kinds : {"}Na", "]NNs", ")Na", "NNb", "]}b", "N)R", "cm\nf\nNR", "NN\x93"}) {
    EXPECT_THAT(refusal(kinds), HasSubstr("a value of another kind")) << kinds;
  }
  EXPECT_THAT(refusal(pickled_call(pickled_global("collections", "OrderedDict"), {"]Na"})),
              HasSubstr("else than pairs"));
  EXPECT_THAT(refusal(pickled_call(pickled_global("collections", "OrderedDict"), {"]", "]"})),
              HasSubstr("more than one"));
  EXPECT_THAT(refusal("X\xFF\xFF\xFF\xFFx"), HasSubstr("cut short"));
}

TEST(Pickle, EveryCutIsRefusedAndNoFlippedByteIsMoreThanAnError) {
  for (const std::string& whole : {from_hex(kProtocol2), from_hex(kProtocol4)}) {
    for (size_t size = 0; size < whole.size(); ++size)
      EXPECT_NE(refusal(whole.substr(0, size)), "no error") << size;
    for (size_t at = 0; at < whole.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string flipped = whole;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
        refusal(flipped);  // an Error of another kind, or any other exception, fails the test
      }
    }
  }
}

TEST(Pickle, DepthSharingAndCyclesCostNothing) {
  std::string deep = ")";
  for (int i = 0; i < 1000000; ++i) deep += '\x85';
  EXPECT_EQ(parse(whole_pickle(deep)).values.size(), 1000001u);
  // A list that holds itself, a hundred levels that hold the one below twice.
  const Pickle cycle = parse(whole_pickle("]q\1h\1a"));
  EXPECT_EQ(cycle.at(cycle.root).items, std::vector<PickleIndex>{cycle.root});
  std::string twice = ")";
  for (int i = 0; i < 100; ++i) twice += "q\1h\1\x86";
  EXPECT_EQ(parse(whole_pickle(twice)).values.size(), 101u);
}

TEST(Pickle, WhatItHoldsIsBounded) {
  const size_t many = (size_t{1} << 21) + 1;
  EXPECT_THAT(refusal(std::string(many, 'N')), HasSubstr("too many values"));
  EXPECT_THAT(refusal(std::string(many, '(')), HasSubstr("too many marks"));
  std::string pushes = "Nq\1", remembered = "N";
  for (size_t i = 0; i < many; ++i) {
    pushes += "h\1";
    remembered += '\x94';
  }
  EXPECT_THAT(refusal(pushes), HasSubstr("too many values"));
  EXPECT_THAT(refusal(remembered), HasSubstr("remembers too many"));
  // A list of three thousand pairs, given to OrderedDict a thousand times.
  std::string list =
                  "K\1K\1\x86q\2"
                  "0](",
              calls =
                  "eq\1"
                  "0ccollections\nOrderedDict\nq\3"
                  "0";
  for (int i = 0; i < 1000; ++i) {
    list += "h\2h\2h\2";
    calls += "h\3h\1\x85R0";
  }
  EXPECT_THAT(refusal(list + calls + "N."), HasSubstr("too many values"));
}

}  // namespace
}  // namespace precis

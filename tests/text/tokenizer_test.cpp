// Loading tokenizers, encoding with offsets, decoding.
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/error_of.h"
#include "io/json.h"
#include "text/bpe_trainer.h"

namespace precis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;
using Spans = std::vector<SourceSpan>;

class TokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = std::filesystem::temp_directory_path() /
                 (std::string("precis_tokenizer_") + info->name() + std::to_string(::getpid()));
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& name, const std::string& bytes) {
    std::ofstream(directory_ / name, std::ios::binary) << bytes;
  }
  void write_all(const std::vector<TokenizerFile>& files) {
    for (const TokenizerFile& file : files) write(file.name, file.bytes);
  }
  // A small trained tokenizer: every byte, and a few words.
  static std::vector<TokenizerFile> trained() {
    BpeTrainer trainer;
    for (int i = 0; i < 4; ++i) trainer.add("the cat sat on the mat the end");
    return tokenizer_files(trainer.train(280));
  }
  // The trained tokenizer.json alone, changed.
  void write_changed(const std::function<void(Json&)>& change) {
    Json json = parse_json(trained()[0].bytes, "trained", ErrorKind::kModel);
    change(json);
    write("tokenizer.json", json.dump());
  }
  std::string error_of_load() {
    const std::string message = precis::error_of([&] { Tokenizer::load(directory_); }, ErrorKind::kModel);
    EXPECT_NE(message, "no error");
    return message;
  }

  std::filesystem::path directory_;
};

std::string text_of(const Tokenizer& tokenizer, const Ids& ids) {
  std::string text;
  for (const int32_t id : ids) text += tokenizer.id_to_token(id) + "|";
  return text;
}

TEST_F(TokenizerTest, BothFormsGiveTheSameIds) {
  const auto files = trained();
  write_all(files);
  const Tokenizer one = Tokenizer::load(directory_);
  EXPECT_EQ(one.files().size(), 4u);
  std::filesystem::remove(directory_ / "tokenizer.json");
  std::filesystem::remove(directory_ / "tokenizer_config.json");
  const Tokenizer two = Tokenizer::load(directory_);
  EXPECT_EQ(two.files().size(), 2u);
  const std::string text = "the cat <mask> sat </s> on\n\n the caf\xC3\xA9";
  EXPECT_EQ(one.encode(text).ids, two.encode(text).ids);
  EXPECT_EQ(one.size(), two.size());
  EXPECT_EQ(one.mask(), two.mask());
}

TEST_F(TokenizerTest, SpecialTokensAreWhereTheContractSays) {
  write_all(trained());
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  EXPECT_EQ(tokenizer.bos(), 0);
  EXPECT_EQ(tokenizer.pad(), 1);
  EXPECT_EQ(tokenizer.eos(), 2);
  EXPECT_EQ(tokenizer.unk(), 3);
  EXPECT_EQ(tokenizer.mask(), tokenizer.size() - 1);
  EXPECT_EQ(tokenizer.id_limit(), tokenizer.size());
  EXPECT_TRUE(tokenizer.is_special(2));
  EXPECT_FALSE(tokenizer.is_special(4));
  EXPECT_EQ(tokenizer.token_to_id("</s>"), 2);
  EXPECT_EQ(tokenizer.token_to_id("no such token"), std::nullopt);
  EXPECT_THROW(tokenizer.id_to_token(tokenizer.size()), Error);
  EXPECT_THROW(tokenizer.id_to_token(-1), Error);
}

TEST_F(TokenizerTest, OffsetsCountCodePointsAndIncludeTheSpace) {
  write_all(trained());
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  const Encoding encoding = tokenizer.encode("\xC3\xA9 the<mask>\xF0\x9F\x98\x80");
  // The accented letter is two byte tokens, the emoji four: each covers the whole character.
  EXPECT_EQ(text_of(tokenizer, encoding.ids),
            "\xC3\x83|\xC2\xA9|\xC4\xA0the|<mask>|\xC3\xB0|\xC5\x81|\xC4\xBA|\xC4\xA2|");
  EXPECT_EQ(encoding.offsets,
            (Spans{{0, 1}, {0, 1}, {1, 5}, {5, 11}, {11, 12}, {11, 12}, {11, 12}, {11, 12}}));
  EXPECT_TRUE(tokenizer.encode("the", {.offsets = false}).offsets.empty());
}

TEST_F(TokenizerTest, APrefixSpaceHasNoPlaceInTheSource) {
  write_changed([](Json& json) { json["pre_tokenizer"]["add_prefix_space"] = true; });
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  const Encoding encoding = tokenizer.encode("the<s>the the<s> z");
  EXPECT_EQ(text_of(tokenizer, encoding.ids), "\xC4\xA0the|<s>|\xC4\xA0the|\xC4\xA0the|<s>|\xC4\xA0|z|");
  EXPECT_EQ(encoding.offsets, (Spans{{0, 3}, {3, 6}, {6, 9}, {9, 13}, {13, 16}, {16, 17}, {17, 18}}));
  EXPECT_TRUE(tokenizer.encode("").ids.empty());
}

TEST_F(TokenizerTest, SpecialTokensInATextCanBeReadAsText) {
  write_all(trained());
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  EXPECT_EQ(text_of(tokenizer, tokenizer.encode("a</s>").ids), "a|</s>|");
  EXPECT_EQ(text_of(tokenizer, tokenizer.encode("a</s>", {.special_as_text = true}).ids), "a|<|/|s|>|");
}

TEST_F(TokenizerTest, DecodingIsExactAndMendsBrokenBytes) {
  write_all(trained());
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  std::string text;
  for (int i = 0; i < 128; ++i) text += static_cast<char>(i);
  text += " the  cat\r\n\xC3\xA9\xF0\x9F\x98\x80 ";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text).ids, false), text);
  Ids cut = tokenizer.encode("a\xF0\x9F\x98\x80").ids;
  cut.pop_back();
  EXPECT_EQ(tokenizer.decode(cut, false), "a\xEF\xBF\xBD");
  EXPECT_EQ(tokenizer.decode(Ids{0, 1000000, 2, -5}, false), "<s></s>");
  EXPECT_EQ(tokenizer.decode(Ids{0, 2}, true), "");
}

TEST_F(TokenizerTest, InvalidUtf8NamesItsByte) {
  write_all(trained());
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  for (const std::string bad :
       {"ab\xFF", "ab\xC0\x80", "ab\xED\xA0\x80", "ab\xF4\x90\x80\x80", "ab\xE2\x82"}) {
    try {
      tokenizer.encode(bad);
      ADD_FAILURE() << "encoded";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kData);
      EXPECT_THAT(error.what(), HasSubstr("byte offset 2"));
    }
  }
}

TEST_F(TokenizerTest, WholeWordsCanComeBeforeMerges) {
  const auto add_word = [](Json& json) { json["model"]["vocab"]["zzz"] = 280; };
  write_changed(add_word);
  EXPECT_EQ(Tokenizer::load(directory_).encode("zzz").ids.size(), 3u);
  write_changed([&](Json& json) {
    add_word(json);
    json["model"]["ignore_merges"] = true;
  });
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  EXPECT_THAT(tokenizer.encode("zzz").ids, ElementsAre(280));
  EXPECT_EQ(tokenizer.encode("zzz").offsets, (Spans{{0, 3}}));
}

TEST_F(TokenizerTest, MergesMayBeWrittenAsText) {
  write_changed([](Json& json) {});
  const Ids pairs = Tokenizer::load(directory_).encode("the cat on the mat").ids;
  write_changed([](Json& json) {
    for (Json& merge : json["model"]["merges"]) {
      merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    }
  });
  EXPECT_EQ(Tokenizer::load(directory_).encode("the cat on the mat").ids, pairs);
}

TEST_F(TokenizerTest, WhatIsNotBuiltIsNamed) {
  const std::pair<std::function<void(Json&)>, std::string> cases[] = {
      {[](Json& j) {
         j["normalizer"] = {{"type", "NFC"}};
       },
       "NFC"},
      {[](Json& j) {
         j["pre_tokenizer"] = {{"type", "Whitespace"}};
       },
       "Whitespace"},
      {[](Json& j) { j["pre_tokenizer"] = nullptr; }, "pre_tokenizer"},
      {[](Json& j) { j["pre_tokenizer"]["pattern"] = 1; }, "pattern"},
      {[](Json& j) {
         j["decoder"] = {{"type", "WordPiece"}};
       },
       "WordPiece"},
      {[](Json& j) {
         j["post_processor"] = {{"type", "Magic"}};
       },
       "Magic"},
      {[](Json& j) { j["model"]["type"] = "Unigram"; }, "Unigram"},
      {[](Json& j) { j["model"]["byte_fallback"] = true; }, "byte_fallback"},
      {[](Json& j) { j["model"]["dropout"] = 0.1; }, "dropout"},
      {[](Json& j) { j["model"]["continuing_subword_prefix"] = "##"; }, "continuing_subword_prefix"},
      {[](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, "end_of_word_suffix"},
      {[](Json& j) { j["model"]["surprise"] = 1; }, "surprise"},
      {[](Json& j) { j["surprise"] = 1; }, "surprise"},
      {[](Json& j) { j["version"] = "2.0"; }, "version"},
  };
  for (const auto& [change, named] : cases) {
    write_changed(change);
    EXPECT_THAT(error_of_load(), HasSubstr(named));
  }
}

TEST_F(TokenizerTest, BrokenVocabulariesAreErrors) {
  const std::pair<std::function<void(Json&)>, std::string> cases[] = {
      {[](Json& j) {
         j["model"]["merges"].push_back(Json::array({"a", "nowhere"}));
       },
       "nowhere"},
      {[](Json& j) {
         j["model"]["merges"].push_back(Json::array({"q", "q"}));
       },
       "qq"},
      {[](Json& j) { j["model"]["merges"].push_back("a b"); }, "merge"},
      {[](Json& j) { j["model"]["vocab"]["twice"] = 5; }, "two tokens"},
      {[](Json& j) { j["model"]["vocab"]["minus"] = -1; }, "minus"},
      {[](Json& j) { j["model"]["vocab"]["huge"] = 4294967295u; }, "huge"},
      {[](Json& j) { j["model"]["vocab"]["text"] = "1"; }, "text"},
      {[](Json& j) { j["model"]["vocab"] = Json::object(); }, "empty"},
      {[](Json& j) { j["added_tokens"][0]["content"] = ""; }, "empty"},
      {[](Json& j) { j["added_tokens"][0]["id"] = 7; }, "<s>"},
      {[](Json& j) { j["added_tokens"][1]["content"] = "<s>"; }, "twice"},
      {[](Json& j) { j["added_tokens"][0]["lstrip"] = 1; }, "lstrip"},
      {[](Json& j) { j["added_tokens"][0].erase("normalized"); }, "lacks `normalized`"},
      {[](Json& j) { j["model"].erase("merges"); }, "merges"},
      {[](Json& j) { j.erase("model"); }, "model"},
  };
  for (const auto& [change, named] : cases) {
    write_changed(change);
    EXPECT_THAT(error_of_load(), HasSubstr(named));
  }
  write("tokenizer.json", "{");
  EXPECT_THAT(error_of_load(), HasSubstr("tokenizer.json"));
}

TEST_F(TokenizerTest, MissingFilesAndBadMergesAreNamed) {
  EXPECT_THAT(error_of_load(), HasSubstr("tokenizer.json"));
  write("vocab.json", R"({"a": 0, "b": 1, "ab": 2})");
  EXPECT_THAT(error_of_load(), HasSubstr("merges.txt"));
  write("merges.txt", "#version: 0.2\na b\nabc\n");
  EXPECT_THAT(error_of_load(), HasSubstr("merges.txt:3"));
  write("merges.txt", "#version: 0.2\r\na b\r\n");
  EXPECT_THAT(Tokenizer::load(directory_).encode("ab").ids, ElementsAre(2));
}

TEST_F(TokenizerTest, AMissingByteIsAnErrorOnlyWhereATextHasIt) {
  write("vocab.json", R"({"a": 0, "b": 1})");
  write("merges.txt", "");
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  EXPECT_THAT(tokenizer.encode("ba").ids, ElementsAre(1, 0));
  EXPECT_THROW(tokenizer.encode("bc"), Error);
  // BART's special tokens come behind the vocabulary, in the order of transformers.
  EXPECT_EQ(tokenizer.bos(), 2);
  EXPECT_EQ(tokenizer.eos(), 3);
  EXPECT_EQ(tokenizer.unk(), 4);
  EXPECT_EQ(tokenizer.pad(), 5);
  EXPECT_EQ(tokenizer.mask(), 6);
}

TEST_F(TokenizerTest, TheSmallFilesNameAndAddTokens) {
  write("vocab.json", R"({"a": 0, "b": 1})");
  write("merges.txt", "");
  write("tokenizer_config.json",
        R"({"bos_token": "[B]", "mask_token": {"content": "[M]", "lstrip": true}, "add_prefix_space": false,
            "added_tokens_decoder": {"2": {"content": "[X]", "special": false, "normalized": false}}})");
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  EXPECT_EQ(tokenizer.token_to_id("[X]"), 2);
  EXPECT_FALSE(tokenizer.is_special(2));
  EXPECT_EQ(tokenizer.bos(), tokenizer.token_to_id("[B]"));
  EXPECT_TRUE(tokenizer.is_special(*tokenizer.bos()));
  EXPECT_THAT(tokenizer.encode("a [M]b").ids, ElementsAre(0, *tokenizer.mask(), 1));
  write("tokenizer_config.json", R"({"added_tokens_decoder": {"9": {"content": "[X]"}}})");
  EXPECT_THAT(error_of_load(), HasSubstr("[X]"));
}

TEST_F(TokenizerTest, ContradictingPrefixSpacesAreAnError) {
  write_changed([](Json& json) { json["pre_tokenizer"]["add_prefix_space"] = true; });
  write("tokenizer_config.json", R"({"add_prefix_space": false})");
  EXPECT_THAT(error_of_load(), HasSubstr("add_prefix_space"));
}

TEST_F(TokenizerTest, HostileTextsTakeSeconds) {
  write_all(trained());
  const Tokenizer tokenizer = Tokenizer::load(directory_);
  const std::vector<std::string> units = {
      " ", "a", "<s>", "<", "\n", "\xE2\x82\xAC", "'s", std::string(1, '\0')};
  for (const std::string& unit : units) {
    std::string text;
    while (text.size() < 10'000'000) text += unit;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text).ids, false), text);
  }
}

}  // namespace
}  // namespace precis

// Where generation settings come from, and which are refused.
#include "generate/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace precis::generate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

models::BartConfig bart() {
  models::BartConfig config;
  config.vocab_size = 100;
  config.max_position_embeddings = 64;
  return config;
}

GenerationConfig resolve(Json model, const Json& options = Json::object(),
                         std::vector<std::string>* said = nullptr) {
  if (!model.contains("decoder_start_token_id")) model["decoder_start_token_id"] = 2;
  const LogSink sink = [&](LogLevel, const std::string& message) {
    if (said != nullptr) said->push_back(message);
  };
  return resolve_generation_config(model, "generation_config.json", bart(), options, sink);
}

void expect_error(ErrorKind kind, const std::string& part, const Json& model,
                  const Json& options = Json::object()) {
  try {
    resolve(model, options);
    FAIL() << "nothing was thrown for " << model.dump() << " " << options.dump();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST(GenerationConfig, AnOptionWinsOverTheModelAndNullLeavesItToTheModel) {
  const Json model = {{"num_beams", 4}, {"no_repeat_ngram_size", 3}, {"max_length", 30}};
  const GenerationConfig config = resolve(model, {{"num_beams", 2}, {"no_repeat_ngram_size", nullptr}});
  EXPECT_EQ(config.num_beams, 2);
  EXPECT_EQ(config.no_repeat_ngram_size, 3);
  EXPECT_EQ(config.max_length, 30);
}

TEST(GenerationConfig, WithoutAnyLengthTwentyTokensAreWrittenAndItIsSaid) {
  std::vector<std::string> said;
  EXPECT_EQ(resolve({}, Json::object(), &said).max_length, 21);
  EXPECT_THAT(said, ElementsAre(HasSubstr("20 new tokens")));
}

TEST(GenerationConfig, NewTokensCountWithoutTheStartAndWin) {
  std::vector<std::string> said;
  const Json model = {{"max_new_tokens", 10}, {"min_new_tokens", 3}, {"min_length", 9}};
  const GenerationConfig config = resolve(model, {{"max_length", 40}}, &said);
  EXPECT_EQ(config.max_length, 11);
  EXPECT_EQ(config.min_length, 4);
  EXPECT_THAT(said, ElementsAre(HasSubstr("max_new_tokens takes precedence")));
}

TEST(GenerationConfig, ALeastLengthAboveTheGreatestIsSaid) {
  std::vector<std::string> said;
  EXPECT_EQ(resolve({{"max_length", 10}, {"min_length", 20}}, Json::object(), &said).min_length, 20);
  EXPECT_THAT(said, SizeIs(1));
}

TEST(GenerationConfig, IdsMayBeOneOrAList) {
  const GenerationConfig config =
      resolve({{"eos_token_id", {2, 5}}, {"forced_eos_token_id", 2}, {"max_length", 9}});
  EXPECT_THAT(config.eos_token_id, ElementsAre(2, 5));
  EXPECT_THAT(config.forced_eos_token_id, ElementsAre(2));
}

TEST(GenerationConfig, EarlyStoppingHasThreeValues) {
  EXPECT_EQ(resolve({{"early_stopping", true}}).early_stopping, EarlyStopping::kTrue);
  EXPECT_EQ(resolve({{"early_stopping", "never"}}).early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(resolve({}).early_stopping, EarlyStopping::kFalse);
  expect_error(ErrorKind::kModel, "early_stopping", {{"early_stopping", "always"}});
}

TEST(GenerationConfig, MalformedValuesNameFieldAndRange) {
  expect_error(ErrorKind::kModel, "num_beams", {{"num_beams", 0}});
  expect_error(ErrorKind::kModel, "1 to 1024", {{"num_beams", 1000000}});
  expect_error(ErrorKind::kModel, "num_beams", {{"num_beams", "4"}});
  expect_error(ErrorKind::kModel, "num_beams", {{"num_beams", 2.5}});
  expect_error(ErrorKind::kModel, "max_length", {{"max_length", 18446744073709551615ull}});
  expect_error(ErrorKind::kModel, "max_length", {{"max_length", 1}});
  expect_error(ErrorKind::kModel, "length_penalty", {{"length_penalty", true}});
  expect_error(ErrorKind::kModel, "0 to 99", {{"eos_token_id", 100}});
  expect_error(ErrorKind::kModel, "eos_token_id", {{"eos_token_id", Json::array()}});
  expect_error(ErrorKind::kModel, "eos_token_id", {{"eos_token_id", {2, "3"}}});
  expect_error(ErrorKind::kUsage, "min_length", {}, {{"min_length", -1}});
}

TEST(GenerationConfig, ALengthBeyondTheDecodersPositionsIsRefused) {
  EXPECT_EQ(resolve({{"max_length", 65}}).max_length, 65);
  EXPECT_EQ(resolve({{"max_new_tokens", 64}}).max_length, 65);
  expect_error(ErrorKind::kModel, "64 positions", {{"max_length", 66}});
  expect_error(ErrorKind::kUsage, "64 positions", {}, {{"max_new_tokens", 65}});
}

TEST(GenerationConfig, WhatTransformersWouldHonourAndIsNotBuiltIsRefused) {
  expect_error(ErrorKind::kUnsupported, "do_sample", {{"do_sample", true}});
  expect_error(ErrorKind::kUnsupported, "repetition_penalty", {{"repetition_penalty", 1.2}});
  expect_error(ErrorKind::kUnsupported, "suppress_tokens", {}, {{"suppress_tokens", {3}}});
  expect_error(ErrorKind::kUnsupported, "bad_words_ids", {{"bad_words_ids", {{3, 4}}}});
  expect_error(ErrorKind::kUnsupported, "num_beam_groups", {{"num_beam_groups", 2}, {"num_beams", 4}});
  expect_error(ErrorKind::kUnsupported, "penalty_alpha", {{"penalty_alpha", 0.6}});
}

TEST(GenerationConfig, WhatChangesNothingIsIgnored) {
  const Json neutral = {{"do_sample", false},
                        {"repetition_penalty", 1.0},
                        {"num_beam_groups", 1},
                        {"temperature", 0.7},
                        {"top_k", 10},
                        {"suppress_tokens", Json::array()},
                        {"bad_words_ids", nullptr},
                        {"use_cache", false},
                        {"transformers_version", "4.31.0"}};
  EXPECT_NO_THROW(resolve(neutral));
  EXPECT_NO_THROW(resolve({{"num_beam_groups", 2}}));                    // greedy search has no groups
  EXPECT_NO_THROW(resolve({{"penalty_alpha", 0.6}, {"num_beams", 2}}));  // contrastive search has no beams
}

TEST(GenerationConfig, TheStartIsDecoderStartElseBos) {
  const Json none = {{"max_length", 9}, {"decoder_start_token_id", nullptr}};
  expect_error(ErrorKind::kModel, "bos_token_id", none);
  Json bos = none;
  bos["bos_token_id"] = 7;
  EXPECT_EQ(resolve(bos).decoder_start_token_id, 7);
}

class GenerationConfigFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ =
        std::filesystem::path(::testing::TempDir()) / (std::string("precis_generation_") + info->name());
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_;
};

TEST_F(GenerationConfigFiles, ConfigJsonCountsOnlyWhereThereIsNoGenerationConfig) {
  models::BartConfig model = bart();
  model.raw = {{"num_beams", 5},
               {"max_length", 33},
               {"decoder_start_token_id", 2},
               {"bos_token_id", 0},
               {"eos_token_id", 2},
               {"length_penalty", nullptr},
               {"force_bos_token_to_be_generated", true}};
  const GenerationConfig legacy = resolve_generation_config(directory_, model, Json::object(), {});
  EXPECT_EQ(legacy.num_beams, 5);
  EXPECT_EQ(legacy.max_length, 33);
  EXPECT_EQ(legacy.length_penalty, 1.0);
  EXPECT_EQ(legacy.forced_bos_token_id, 0);
  EXPECT_TRUE(legacy.forced_eos_token_id.empty());

  std::ofstream(directory_ / "generation_config.json")
      << R"({"decoder_start_token_id": 4, "max_length": 12})";
  const GenerationConfig own = resolve_generation_config(directory_, model, Json::object(), {});
  EXPECT_EQ(own.num_beams, 1);
  EXPECT_EQ(own.max_length, 12);
  EXPECT_EQ(own.decoder_start_token_id, 4);
  EXPECT_TRUE(own.eos_token_id.empty());
}

TEST_F(GenerationConfigFiles, AMalformedGenerationConfigIsAnErrorAndNoFallback) {
  models::BartConfig model = bart();
  model.raw = {{"decoder_start_token_id", 2}};
  for (const char* text : {"", "{", "[]", "{\"num_beams\": 2, \"num_beams\": 3}"}) {
    std::ofstream(directory_ / "generation_config.json") << text;
    try {
      resolve_generation_config(directory_, model, Json::object(), {});
      ADD_FAILURE() << "read: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kModel);
      EXPECT_THAT(error.what(), HasSubstr("generation_config.json"));
    }
  }
}

}  // namespace
}  // namespace precis::generate

// Where generation settings come from, and which are refused.
#include "generate/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>

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
  expect_error(ErrorKind::kUnsupported, "guidance_scale", {}, {{"guidance_scale", 1.5}});
  expect_error(ErrorKind::kUnsupported, "remove_invalid_values", {{"remove_invalid_values", true}});
  expect_error(ErrorKind::kUnsupported, "stop_strings", {{"stop_strings", {"."}}});
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
                        {"encoder_no_repeat_ngram_size", 0},
                        {"num_return_sequences", 1},
                        {"use_cache", false},
                        {"transformers_version", "4.31.0"}};
  EXPECT_NO_THROW(resolve(neutral));
  EXPECT_NO_THROW(resolve({{"num_beam_groups", 2}}));                    // greedy search has no groups
  EXPECT_NO_THROW(resolve({{"penalty_alpha", 0.6}, {"num_beams", 2}}));  // contrastive search has no beams
}

TEST(GenerationConfig, RulesAreReadFromTheModelToo) {
  const GenerationConfig config = resolve({{"repetition_penalty", 1.5},
                                           {"encoder_repetition_penalty", 2},
                                           {"encoder_no_repeat_ngram_size", 4},
                                           {"bad_words_ids", {{3, 4}, {2}, {5}}},
                                           {"sequence_bias", {{{7}, -1.5}, {{7, 8}, 2}, {{7}, 4.5}}},
                                           {"exponential_decay_length_penalty", {3, 1.25}},
                                           {"suppress_tokens", {9}},
                                           {"begin_suppress_tokens", Json::array()},
                                           {"renormalize_logits", true},
                                           {"eos_token_id", 2},
                                           {"max_length", 20}});
  EXPECT_EQ(config.repetition_penalty, 1.5);
  EXPECT_EQ(config.encoder_repetition_penalty, 2.0);
  EXPECT_EQ(config.encoder_no_repeat_ngram_size, 4);
  EXPECT_TRUE(config.reads_document());
  // A lone EOS is not a bad word.
  EXPECT_THAT(config.bad_words_ids, ElementsAre(ElementsAre(3, 4), ElementsAre(5)));
  // The last bias of a sequence holds.
  ASSERT_THAT(config.sequence_bias, SizeIs(2));
  EXPECT_EQ(config.sequence_bias[0].bias, 4.5);
  EXPECT_THAT(config.sequence_bias[1].ids, ElementsAre(7, 8));
  EXPECT_EQ(config.exponential_decay_length_penalty->start, 3);
  EXPECT_EQ(config.exponential_decay_length_penalty->factor, 1.25);
  EXPECT_THAT(config.suppress_tokens, ElementsAre(9));
  EXPECT_TRUE(config.renormalize_logits);
}

TEST(GenerationConfig, RulesOutOfRangeAreRefused) {
  expect_error(ErrorKind::kModel, "above 0", {{"repetition_penalty", 0.0}});
  expect_error(ErrorKind::kUsage, "above 0", {}, {{"encoder_repetition_penalty", -1.0}});
  // 0 and infinite in float32, in which scores are.
  expect_error(ErrorKind::kModel, "1e-30 to 1e30", {{"repetition_penalty", 1e-46}});
  expect_error(ErrorKind::kUsage, "1e-30 to 1e30", {}, {{"repetition_penalty", 1e39}});
  for (const double bias : {1e39, -1e39}) {
    expect_error(ErrorKind::kModel, "-1e30 to 1e30", {{"sequence_bias", {{{3}, bias}}}});
  }
  for (const double power : {20.0, -20.0, 1e30, -1e30}) {
    expect_error(ErrorKind::kModel, "greatest length, 60, no further",
                 {{"length_penalty", power}, {"max_length", 60}});
  }
  EXPECT_EQ(resolve({{"length_penalty", -16.0}, {"max_length", 60}}).length_penalty, -16.0);
  expect_error(ErrorKind::kModel, "0 to 99", {{"bad_words_ids", {{3, 100}}}});
  expect_error(ErrorKind::kModel, "bad_words_ids", {{"bad_words_ids", {3, 4}}});
  expect_error(ErrorKind::kModel, "bad_words_ids", {{"bad_words_ids", Json::array()}});
  expect_error(ErrorKind::kModel, "bad_words_ids", {{"bad_words_ids", {Json::array()}}});
  expect_error(ErrorKind::kModel, "min_length", {{"bad_words_ids", {{2}}}, {"eos_token_id", 2}});
  expect_error(ErrorKind::kModel, "sequence_bias", {{"sequence_bias", {{{3}, "1"}}}});
  expect_error(ErrorKind::kModel, "sequence_bias", {{"sequence_bias", {{3, 1.0}}}});
  expect_error(ErrorKind::kModel, "pair", {{"exponential_decay_length_penalty", {-1, 1.5}}});
  expect_error(ErrorKind::kModel, "eos_token_id", {{"exponential_decay_length_penalty", {1, 1.5}}});
  expect_error(ErrorKind::kModel, "finite",
               {{"exponential_decay_length_penalty", {1, 1e9}}, {"eos_token_id", 2}, {"max_length", 60}});
  expect_error(ErrorKind::kModel, "suppress_tokens", {{"suppress_tokens", 3}});
  expect_error(ErrorKind::kModel, "suppress_tokens", {{"suppress_tokens", {3}}, {"forced_bos_token_id", 3}});
  std::vector<int64_t> all(100);
  std::iota(all.begin(), all.end(), 0);
  expect_error(ErrorKind::kModel, "suppress_tokens: ", {{"suppress_tokens", all}});
  expect_error(ErrorKind::kUsage, "fewer ids than the vocabulary has", {}, {{"suppress_tokens", all}});
  all.back() = 0;
  EXPECT_THAT(resolve({{"suppress_tokens", all}}).suppress_tokens, SizeIs(100));
  expect_error(ErrorKind::kModel, "renormalize_logits", {{"renormalize_logits", 1}});
}

TEST(GenerationConfig, SamplingHasTransformersDefaultsAndASeedOfItsOwn) {
  const GenerationConfig config = resolve({{"do_sample", true}, {"seed", 9}});
  ASSERT_TRUE(config.sampling);
  EXPECT_EQ(config.sampling->temperature, 1.0);
  EXPECT_EQ(config.sampling->top_k, 50);
  EXPECT_EQ(config.sampling->top_p, 1.0);
  EXPECT_FALSE(config.sampling->min_p);
  EXPECT_EQ(config.sampling->seed, kDefaultSeed);  // no model's file has one
  EXPECT_EQ(resolve({}, {{"do_sample", true}, {"seed", 9}}).sampling->seed, 9u);
  EXPECT_FALSE(resolve({{"do_sample", true}}, {{"do_sample", false}}).sampling);
}

TEST(GenerationConfig, FiltersOfSamplingOutOfRangeAreRefusedWhereTheyAreUsed) {
  const auto sampled = [](const char* key, const Json& value) {
    return Json{{"do_sample", true}, {key, value}};
  };
  for (const double temperature : {0.0, -1.0, 1e-320, 1e-31, 1e31, 1e308}) {
    expect_error(ErrorKind::kModel, "temperature", sampled("temperature", temperature));
  }
  expect_error(ErrorKind::kModel, "top_k", sampled("top_k", -1));
  expect_error(ErrorKind::kModel, "top_k", sampled("top_k", 1.5));
  expect_error(ErrorKind::kModel, "0 to 1", sampled("top_p", 1.5));
  expect_error(ErrorKind::kModel, "min_p", sampled("min_p", -0.1));
  expect_error(ErrorKind::kModel, "above 0", sampled("top_h", 0.0));
  expect_error(ErrorKind::kModel, "above 0", sampled("typical_p", 0.0));
  expect_error(ErrorKind::kModel, "epsilon_cutoff", sampled("epsilon_cutoff", "x"));
  expect_error(ErrorKind::kModel, "do_sample", {{"do_sample", "yes"}});
  expect_error(ErrorKind::kUsage, "seed", {}, {{"seed", -1}});
  EXPECT_NO_THROW(resolve({{"temperature", 0.0}, {"top_p", 1.5}}));
}

TEST(GenerationConfig, FiltersWithoutSamplingAreSaidToChangeNothing) {
  const Json model = {{"temperature", 0.7}, {"top_k", 50}, {"max_length", 9}};
  std::vector<std::string> said;
  resolve(model, {{"top_p", 0.5}, {"seed", 3}}, &said);
  EXPECT_THAT(said, ElementsAre(HasSubstr("change nothing: temperature, top_p, seed")));
  said.clear();
  resolve(model, {{"do_sample", false}}, &said);  // the user has turned it off
  EXPECT_THAT(said, SizeIs(0));
  resolve(model, {{"do_sample", true}}, &said);
  EXPECT_THAT(said, SizeIs(0));
}

TEST(GenerationConfig, SeveralSequencesNeedBeamsOrSampling) {
  expect_error(ErrorKind::kUsage, "greedy search", {}, {{"num_return_sequences", 2}});
  expect_error(ErrorKind::kUsage, "num_beams, 3", {{"num_beams", 3}}, {{"num_return_sequences", 4}});
  expect_error(ErrorKind::kUsage, "num_beams, 3", {{"num_beams", 3}, {"do_sample", true}},
               {{"num_return_sequences", 4}});
  expect_error(ErrorKind::kUsage, "1 to 1024", {{"do_sample", true}}, {{"num_return_sequences", 1025}});
  EXPECT_EQ(resolve({{"num_beams", 3}, {"num_return_sequences", 3}}).rows(), 3);
  EXPECT_EQ(resolve({{"do_sample", true}, {"num_return_sequences", 7}}).rows(), 7);
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

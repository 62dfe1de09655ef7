// The rules over next tokens on hand-made scores.
#include "generate/logits_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace precis::generate {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr float kOut = -std::numeric_limits<float>::infinity();

constexpr int64_t kOneDocument[] = {0};

std::vector<float> apply_to_scores(const GenerationConfig& config, const TokenSequence& row,
                                   int64_t vocabulary) {
  at::Tensor scores = at::full({1, vocabulary}, -1.5, at::kFloat);
  const TokenSequence* rows[] = {&row};
  LogitsRules(config).apply(rows, kOneDocument, scores);
  return {scores.const_data_ptr<float>(), scores.const_data_ptr<float>() + vocabulary};
}

TEST(RepeatingTokens, AreTheLastTokensOfGramsThatStartLikeTheEnd) {
  EXPECT_THAT(repeating_tokens({5, 6, 7, 5, 6}, 3), ElementsAre(7));
  EXPECT_THAT(repeating_tokens({5, 6, 7, 5, 6}, 2), ElementsAre(7));
  EXPECT_THAT(repeating_tokens({5, 6, 5, 7, 5}, 2), UnorderedElementsAre(6, 7));
  EXPECT_THAT(repeating_tokens({5, 6, 7, 5}, 3), IsEmpty());
}

TEST(RepeatingTokens, OverlapIsARepetition) { EXPECT_THAT(repeating_tokens({4, 4, 4}, 3), ElementsAre(4)); }

TEST(RepeatingTokens, OfOneTokenAreAllThatWereWritten) {
  EXPECT_THAT(repeating_tokens({2, 8, 9}, 1), UnorderedElementsAre(2, 8, 9));
}

TEST(RepeatingTokens, NeedAWholeGram) {
  EXPECT_THAT(repeating_tokens({4, 4}, 3), IsEmpty());
  EXPECT_THAT(repeating_tokens({4, 4}, 0), IsEmpty());
}

TEST(LogitsRules, EveryEosIsRuledOutBelowTheLeastLength) {
  GenerationConfig config;
  config.eos_token_id = {1, 3};
  config.min_length = 3;
  EXPECT_THAT(apply_to_scores(config, {0, 2}, 5), ElementsAre(-1.5f, kOut, -1.5f, kOut, -1.5f));
  EXPECT_THAT(apply_to_scores(config, {0, 2, 2}, 5), ElementsAre(-1.5f, -1.5f, -1.5f, -1.5f, -1.5f));
}

TEST(LogitsRules, RowsAreJudgedByWhatTheyWrote) {
  GenerationConfig config;
  config.no_repeat_ngram_size = 1;
  at::Tensor scores = at::zeros({2, 4}, at::kFloat);
  const TokenSequence first{0, 1}, second{0, 3};
  const TokenSequence* rows[] = {&first, &second};
  const int64_t two_documents[] = {0, 1};
  LogitsRules(config).apply(rows, two_documents, scores);
  const at::Tensor out = scores.isinf();
  EXPECT_TRUE(out.equal(at::tensor({1, 1, 0, 0, 1, 0, 0, 1}, at::kInt).view({2, 4}).to(at::kBool)));
}

TEST(LogitsRules, ForcedTokensReplaceEveryOtherRule) {
  GenerationConfig config;
  config.max_length = 4;
  config.min_length = 10;
  config.eos_token_id = {2};
  config.no_repeat_ngram_size = 1;
  config.forced_bos_token_id = 1;
  config.forced_eos_token_id = {2, 3};
  EXPECT_THAT(apply_to_scores(config, {1}, 4), ElementsAre(kOut, 0.0f, kOut, kOut));
  EXPECT_THAT(apply_to_scores(config, {1, 0}, 4), ElementsAre(kOut, kOut, kOut, -1.5f));
  EXPECT_THAT(apply_to_scores(config, {1, 0, 3}, 4), ElementsAre(kOut, kOut, 0.0f, 0.0f));
}

TEST(LogitsRules, RowsAreJudgedByTheirDocument) {
  GenerationConfig config;
  config.encoder_no_repeat_ngram_size = 2;
  at::Tensor scores = at::zeros({4, 4}, at::kFloat);
  const TokenSequence row{0, 1};
  const TokenSequence* rows[] = {&row, &row, &row, &row};
  const int64_t live[] = {0, 2};  // document 1 has ended
  LogitsRules(config, {{0, 1, 2}, {1, 1}, {1, 3, 1, 0, 1, 3}}).apply(rows, live, scores);
  const at::Tensor out = scores.isinf();
  EXPECT_TRUE(out.equal(
      at::tensor({0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1}, at::kInt).view({4, 4}).to(at::kBool)));
}

TEST(NgramIndex, FindsEachCompletionOnce) {
  const NgramIndex index({7, 8, 9, 7, 8, 9, 7, 8, 5}, 3);
  EXPECT_THAT(index.completions(std::vector<int32_t>{1, 7, 8}), UnorderedElementsAre(9, 5));
  EXPECT_THAT(index.completions(std::vector<int32_t>{9, 7}), ElementsAre(8));
  EXPECT_THAT(index.completions(std::vector<int32_t>{8, 5}), IsEmpty());
  EXPECT_THAT(index.completions(std::vector<int32_t>{8}), IsEmpty());
}

TEST(NgramIndex, OfOneTokenAreAllTokensAndOfMoreThanThereAreNone) {
  EXPECT_THAT(NgramIndex({4, 4, 2}, 1).completions({}), UnorderedElementsAre(2, 4));
  EXPECT_THAT(NgramIndex({4, 4}, 3).completions(std::vector<int32_t>{4, 4}), IsEmpty());
}

TEST(LogitsRules, TheEndIsForcedRatherThanTheBeginning) {
  GenerationConfig config;
  config.max_length = 2;
  config.forced_bos_token_id = 1;
  config.forced_eos_token_id = {2};
  EXPECT_THAT(LogitsRules(config).forced(1), ElementsAre(2));
}

}  // namespace
}  // namespace precis::generate

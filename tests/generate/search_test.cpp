// Greedy and beam search on hand-made distributions: the next token's probabilities are a function of the
// last token.
#include "generate/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error_of.h"

namespace precis::generate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Tokens: 0 start, 1 EOS, 2.. words. Row t: the probabilities after token t.
using Chain = std::vector<std::vector<double>>;

at::Tensor logits(const Chain& chain, const std::vector<int64_t>& last) {
  std::vector<float> values;
  for (const int64_t token : last) {
    for (const double p : chain[static_cast<size_t>(token)])
      values.push_back(static_cast<float>(std::log(p)));
  }
  const int64_t rows = static_cast<int64_t>(last.size());
  return at::tensor(values, at::kFloat).view({rows, -1});
}

// Documents with the keys first, first + 1, ...
std::vector<SearchedDocument> documents(size_t count, uint64_t first = 0) {
  std::vector<SearchedDocument> result(count);
  for (size_t d = 0; d < count; ++d) result[d].key = first + d;
  return result;
}

// One chain a document.
std::vector<std::vector<Generated>> search_sequences(const GenerationConfig& config,
                                                     const std::vector<Chain>& chains, uint64_t first_key = 0,
                                                     int64_t* steps = nullptr) {
  const std::unique_ptr<Search> search = make_search(config, documents(chains.size(), first_key));
  std::vector<int64_t> last(chains.size() * static_cast<size_t>(config.rows()),
                            config.decoder_start_token_id);
  std::vector<TokenSequence> certain(chains.size());
  int64_t count = 0;
  while (!search->done()) {
    std::vector<at::Tensor> rows;
    for (size_t i = 0; i < search->live().size(); ++i) {
      const auto begin = last.begin() + static_cast<int64_t>(i) * config.rows();
      rows.push_back(logits(chains[static_cast<size_t>(search->live()[i])], {begin, begin + config.rows()}));
    }
    const Search::Step step = search->advance(at::cat(rows, 0));
    for (size_t i = 0; i < search->live().size(); ++i) {
      certain[static_cast<size_t>(search->live()[i])] = search->certain(i);
    }
    const int64_t* tokens = step.tokens_R.const_data_ptr<int64_t>();
    last.assign(tokens, tokens + step.tokens_R.numel());
    ++count;
  }
  if (steps != nullptr) *steps = count;
  std::vector<std::vector<Generated>> results = std::move(*search).results();
  for (size_t d = 0; d < results.size(); ++d) {
    EXPECT_EQ(results[d].size(), static_cast<size_t>(config.num_return_sequences));
    const TokenSequence& ids = results[d].front().token_ids;
    EXPECT_TRUE(certain[d].size() <= ids.size() &&
                std::equal(certain[d].begin(), certain[d].end(), ids.begin()))
        << "what was certain of document " << d << " has changed";
  }
  return results;
}

// The first sequence of each.
std::vector<Generated> search_chains(const GenerationConfig& config, const std::vector<Chain>& chains,
                                     int64_t* steps = nullptr) {
  std::vector<Generated> firsts;
  for (std::vector<Generated>& sequences : search_sequences(config, chains, 0, steps)) {
    firsts.push_back(std::move(sequences.front()));
  }
  return firsts;
}

GenerationConfig small_config(int64_t beams) {
  GenerationConfig config;
  config.num_beams = beams;
  config.decoder_start_token_id = 0;
  config.eos_token_id = {1};
  config.max_length = 6;
  return config;
}

// The likelier first word leads to a worse sentence: 2 ends at 0.6 * 0.4, 3 at 0.4 * 0.9.
const Chain kGarden = {{0.0, 0.0, 0.6, 0.4, 0.0},
                       {0.0, 1.0, 0.0, 0.0, 0.0},
                       {0.0, 0.4, 0.0, 0.3, 0.3},
                       {0.0, 0.9, 0.0, 0.1, 0.0},
                       {0.0, 0.5, 0.25, 0.0, 0.25}};
// Never ends by itself.
const Chain kEndless = {{0.0, 0.0, 0.9, 0.1, 0.0},
                        {0.0, 1.0, 0.0, 0.0, 0.0},
                        {0.0, 0.0, 0.2, 0.7, 0.1},
                        {0.0, 0.0, 0.8, 0.1, 0.1},
                        {0.0, 0.0, 0.5, 0.25, 0.25}};

TEST(GreedySearch, TakesTheLikeliestTokenUntilEos) {
  const Generated result = search_chains(small_config(1), {kGarden}).at(0);
  EXPECT_THAT(result.token_ids, ElementsAre(0, 2, 1));
  EXPECT_EQ(result.finish_reason, FinishReason::kEos);
  EXPECT_NEAR(result.score, std::log(0.6 * 0.4) / 2, 1e-6);
}

TEST(GreedySearch, EndsAtTheGreatestLength) {
  const Generated result = search_chains(small_config(1), {kEndless}).at(0);
  EXPECT_THAT(result.token_ids, ElementsAre(0, 2, 3, 2, 3, 2));
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
}

TEST(BeamSearch, FindsTheSequenceThatGreedySearchMisses) {
  const Generated result = search_chains(small_config(2), {kGarden}).at(0);
  EXPECT_THAT(result.token_ids, ElementsAre(0, 3, 1));
  EXPECT_NEAR(result.score, std::log(0.4 * 0.9) / 2, 1e-6);
}

TEST(BeamSearch, LengthPenaltyDividesByNewTokensToThatPower) {
  GenerationConfig config = small_config(2);
  config.length_penalty = 0.0;
  EXPECT_NEAR(search_chains(config, {kGarden}).at(0).score, std::log(0.4 * 0.9), 1e-6);
  config.length_penalty = 3.0;
  config.early_stopping = EarlyStopping::kNever;
  // Ever longer sentences win: the greatest length is used up.
  EXPECT_EQ(search_chains(config, {kGarden}).at(0).token_ids.size(), 6u);
}

// One beam, several, and draws of both.
std::vector<GenerationConfig> all_searches() {
  std::vector<GenerationConfig> configs;
  for (const int64_t beams : {1, 3}) {
    configs.push_back(small_config(beams));
    configs.push_back(small_config(beams));
    configs.back().sampling = Sampling{};
  }
  return configs;
}

TEST(Search, RefusesSettingsThatLeaveNoToken) {
  for (GenerationConfig config : all_searches()) {
    config.bad_words_ids = {{2, 2}, {2, 3}, {3, 2}, {3, 3}, {3, 4}, {2, 4}, {4, 2}, {4, 3}, {4, 4}};
    config.min_length = 6;
    EXPECT_THAT(error_of([&] { search_chains(config, {kGarden}); }, ErrorKind::kUsage),
                HasSubstr("token 2: the generation settings rule out every token"));
  }
}

TEST(Search, RefusesSettingsThatLeaveFloat32) {
  for (GenerationConfig config : all_searches()) {
    config.sequence_bias = {{{2}, 1e30}};
    config.repetition_penalty = 1e-30;
    EXPECT_THAT(error_of([&] { search_chains(config, {kEndless}); }, ErrorKind::kUsage),
                HasSubstr("token 2: the generation settings take scores beyond float32"));
  }
}

TEST(Search, NamesTheDocumentAndTheToken) {
  std::vector<SearchedDocument> two = documents(2);
  two[1].name = "row-2";
  const std::unique_ptr<Search> search = make_search(small_config(1), std::move(two));
  search->advance(at::cat({logits({{0.0, 1.0, 0.0}}, {0}), logits({{0.0, 0.0, 1.0}}, {0})}));
  ASSERT_THAT(search->live(), ElementsAre(1));
  EXPECT_EQ(search->place(0), "row-2, token 2");
}

TEST(BeamSearch, WhatHasEndedStandsWhereAllBeamsComeToNothing) {
  // 2 ends at once; 4, behind 3, has nothing but itself, which is ruled out.
  const Chain chain = {{0.0, 0.0, 0.4, 0.6, 0.0},
                       {0.0, 1.0, 0.0, 0.0, 0.0},
                       {0.0, 1.0, 0.0, 0.0, 0.0},
                       {0.0, 0.0, 0.0, 0.0, 1.0},
                       {0.0, 0.0, 0.0, 0.0, 1.0}};
  GenerationConfig config = small_config(2);
  config.bad_words_ids = {{4, 4}};
  EXPECT_THAT(search_chains(config, {chain}).at(0).token_ids, ElementsAre(0, 2, 1));
}

TEST(BeamSearch, RefusesALengthPenaltyThatTakesScoresBelowThoseThatStandForNone) {
  GenerationConfig config = small_config(2);
  config.length_penalty = -38.0;
  EXPECT_THAT(error_of([&] { search_chains(config, {kGarden}); }, ErrorKind::kUsage),
              HasSubstr("below -1e9"));
  config.length_penalty = -8.0;
  EXPECT_EQ(search_chains(config, {kGarden}).at(0).finish_reason, FinishReason::kEos);
}

TEST(BeamSearch, EarlyStoppingEndsOnceAllPlacesAreFinished) {
  // After the first word an end is the likeliest, so K hypotheses finish at once; a long tail would score
  // better.
  const Chain tail = {{0.0, 0.0, 0.5, 0.5, 0.0},
                      {0.0, 1.0, 0.0, 0.0, 0.0},
                      {0.0, 0.6, 0.0, 0.0, 0.4},
                      {0.0, 0.6, 0.0, 0.0, 0.4},
                      {0.0, 0.01, 0.0, 0.0, 0.99}};
  GenerationConfig config = small_config(2);
  config.max_length = 12;
  config.length_penalty = 2.0;
  config.early_stopping = EarlyStopping::kTrue;
  int64_t stopped = 0, kept_on = 0;
  search_chains(config, {tail}, &stopped);
  config.early_stopping = EarlyStopping::kNever;
  search_chains(config, {tail}, &kept_on);
  EXPECT_EQ(stopped, 2);
  EXPECT_EQ(kept_on, 11);
}

TEST(BeamSearch, AForcedEndAtTheGreatestLengthIsNotTheModelsOwn) {
  GenerationConfig config = small_config(2);
  config.forced_eos_token_id = {1};
  const Generated result = search_chains(config, {kEndless}).at(0);
  ASSERT_EQ(result.token_ids.size(), 6u);
  EXPECT_EQ(result.token_ids.back(), 1);
  EXPECT_EQ(result.finish_reason, FinishReason::kLength);
}

TEST(Search, ADocumentsResultIsThatOfItsRunAlone) {
  for (const int64_t beams : {1, 2, 3}) {
    const GenerationConfig config = small_config(beams);
    const std::vector<Generated> together = search_chains(config, {kEndless, kGarden, kEndless, kGarden});
    for (size_t d = 0; d < together.size(); ++d) {
      const Generated alone = search_chains(config, {d % 2 == 0 ? kEndless : kGarden}).at(0);
      EXPECT_EQ(together[d].token_ids, alone.token_ids) << "beams " << beams << ", document " << d;
      EXPECT_EQ(together[d].score, alone.score);
    }
  }
}

GenerationConfig sampling_config(int64_t sequences) {
  GenerationConfig config = small_config(1);
  config.num_return_sequences = sequences;
  config.sampling = Sampling();
  return config;
}

TEST(Sampling, AtATemperatureOfNearlyNothingIsGreedySearch) {
  GenerationConfig config = sampling_config(3);
  config.sampling->temperature = 1e-3;
  const std::vector<std::vector<Generated>> results = search_sequences(config, {kGarden});
  const Generated greedy = search_chains(small_config(1), {kGarden}).at(0);
  for (const Generated& sequence : results[0]) {
    EXPECT_EQ(sequence.token_ids, greedy.token_ids);
    EXPECT_EQ(sequence.score, greedy.score);  // of the model's distribution, not the sharpened one
  }
}

TEST(Sampling, DrawsAreThoseOfTheDocumentAndTheSequenceWhateverIsBesideThem) {
  const std::vector<std::vector<Generated>> together =
      search_sequences(sampling_config(4), {kEndless, kGarden, kGarden}, 7);
  bool differ = false;
  for (size_t d = 0; d < together.size(); ++d) {
    const std::vector<Generated> alone =
        search_sequences(sampling_config(2), {d == 0 ? kEndless : kGarden}, 7 + d).at(0);
    for (size_t k = 0; k < alone.size(); ++k) EXPECT_EQ(alone[k].token_ids, together[d][k].token_ids);
    differ = differ || together[d][0].token_ids != together[d][1].token_ids;
  }
  EXPECT_TRUE(differ || together[1][0].token_ids != together[2][0].token_ids);
}

TEST(Sampling, AnotherSeedGivesOtherDraws) {
  GenerationConfig config = sampling_config(20);
  const std::vector<Generated> first = search_sequences(config, {kEndless}).at(0);
  config.sampling->seed = 2;
  const std::vector<Generated> second = search_sequences(config, {kEndless}).at(0);
  int64_t equal = 0;
  for (size_t k = 0; k < first.size(); ++k) equal += first[k].token_ids == second[k].token_ids ? 1 : 0;
  EXPECT_LT(equal, 20);
}

TEST(Sampling, ASequenceThatEndedStaysWhileOthersOfItsDocumentRunOn) {
  const std::vector<Generated> sequences = search_sequences(sampling_config(30), {kGarden}).at(0);
  size_t shortest = 99, longest = 0;
  for (const Generated& sequence : sequences) {
    shortest = std::min(shortest, sequence.token_ids.size());
    longest = std::max(longest, sequence.token_ids.size());
    const auto end = std::find(sequence.token_ids.begin() + 1, sequence.token_ids.end(), 1);
    EXPECT_TRUE(end == sequence.token_ids.end() || end + 1 == sequence.token_ids.end());
    // The product of the chain's probabilities.
    double probability = 1.0;
    for (size_t t = 1; t < sequence.token_ids.size(); ++t) {
      probability *=
          kGarden[static_cast<size_t>(sequence.token_ids[t - 1])][static_cast<size_t>(sequence.token_ids[t])];
    }
    const double new_tokens = static_cast<double>(sequence.token_ids.size() - 1);
    EXPECT_NEAR(sequence.score, std::log(probability) / new_tokens, 1e-5);
  }
  EXPECT_LT(shortest, longest);
}

TEST(Sampling, BeamsAreDrawnByTheDocumentsKey) {
  GenerationConfig config = small_config(3);
  config.num_return_sequences = 3;
  config.sampling = Sampling();
  const auto together = search_sequences(config, {kEndless, kGarden}, 11);
  const auto alone = search_sequences(config, {kGarden}, 12);
  for (size_t k = 0; k < 3; ++k) EXPECT_EQ(together[1][k].token_ids, alone[0][k].token_ids);
  EXPECT_GE(alone[0][0].score, alone[0][1].score);
  EXPECT_GE(alone[0][1].score, alone[0][2].score);
}

TEST(BeamSearch, SeveralSequencesAreTheBestOnesInOrder) {
  GenerationConfig config = small_config(3);
  config.num_return_sequences = 2;
  const std::vector<Generated> sequences = search_sequences(config, {kGarden}).at(0);
  EXPECT_THAT(sequences[0].token_ids, ElementsAre(0, 3, 1));
  EXPECT_NEAR(sequences[0].score, std::log(0.4 * 0.9) / 2, 1e-6);
  EXPECT_GT(sequences[0].score, sequences[1].score);
}

TEST(BeamSearch, NothingIsCertainThatAFinishedHypothesisLacks) {
  GenerationConfig config = small_config(2);
  config.early_stopping = EarlyStopping::kNever;
  const std::unique_ptr<Search> search = make_search(config, documents(1));
  search->advance(logits(kGarden, {0, 0}));
  EXPECT_THAT(search->certain(0), ElementsAre(0));
  // 3 and 2 end; what runs on begins with 2 alone.
  search->advance(logits(kGarden, {2, 3}));
  ASSERT_FALSE(search->done());
  EXPECT_THAT(search->certain(0), ElementsAre(0));
  EXPECT_THAT(search_chains(config, {kGarden}).at(0).token_ids, ElementsAre(0, 3, 1));
}

TEST(Search, FinishedDocumentsLeaveTheRows) {
  const GenerationConfig config = small_config(2);
  const std::unique_ptr<Search> search = make_search(config, documents(2));
  std::vector<int64_t> first{0, 0};
  search->advance(at::cat({logits(kGarden, first), logits(kEndless, first)}, 0));
  Search::Step step = search->advance(at::cat({logits(kGarden, {2, 3}), logits(kEndless, {2, 3})}, 0));
  while (search->live().size() == 2) {
    const int64_t* tokens = step.tokens_R.const_data_ptr<int64_t>();
    step = search->advance(
        at::cat({logits(kGarden, {tokens[0], tokens[1]}), logits(kEndless, {tokens[2], tokens[3]})}, 0));
  }
  EXPECT_THAT(search->live(), ElementsAre(1));
  EXPECT_TRUE(step.moved);
  EXPECT_EQ(step.tokens_R.numel(), 2);
  EXPECT_GE(step.parents_R.min().item<int64_t>(), 2);
}

}  // namespace
}  // namespace precis::generate

// What the two searches share, and greedy search.
#include "generate/search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace precis::generate {

const char* name(FinishReason reason) { return reason == FinishReason::kEos ? "eos" : "length"; }

Search::Search(const GenerationConfig& config, int64_t documents)
    : config_(config), rules_(config), live_(static_cast<size_t>(documents)), results_(live_.size()) {
  std::iota(live_.begin(), live_.end(), 0);
}

bool Search::ends(int32_t token) const {
  return std::find(config_.eos_token_id.begin(), config_.eos_token_id.end(), token) !=
         config_.eos_token_id.end();
}

Generated Search::make_result(TokenSequence tokens, double score) const {
  Generated result;
  const bool forced_end =
      static_cast<int64_t>(tokens.size()) >= config_.max_length && !config_.forced_eos_token_id.empty();
  result.finish_reason = ends(tokens.back()) && !forced_end ? FinishReason::kEos : FinishReason::kLength;
  result.token_ids = std::move(tokens);
  result.score = score;
  return result;
}

Search::Step Search::make_step(const std::vector<int64_t>& tokens, const std::vector<int64_t>& parents,
                               int64_t rows_before) {
  Step step;
  step.tokens_R = at::tensor(tokens, at::kLong);
  step.parents_R = at::tensor(parents, at::kLong);
  step.moved = static_cast<int64_t>(parents.size()) != rows_before;
  for (size_t r = 0; r < parents.size(); ++r)
    step.moved = step.moved || parents[r] != static_cast<int64_t>(r);
  ++length_;
  return step;
}

GreedySearch::GreedySearch(const GenerationConfig& config, int64_t documents)
    : Search(config, documents),
      rows_(live_.size(), TokenSequence{static_cast<int32_t>(config.decoder_start_token_id)}),
      log_probabilities_(live_.size(), 0.0) {}

Search::Step GreedySearch::advance(at::Tensor logits_RV) {
  std::vector<const TokenSequence*> rows;
  for (const TokenSequence& row : rows_) rows.push_back(&row);
  const at::Tensor normaliser_R = logits_RV.logsumexp(1);
  rules_.apply(rows, logits_RV);
  const at::Tensor chosen_R = logits_RV.argmax(1);
  const at::Tensor log_probability_R =
      rules_.forced(length_).empty() ? logits_RV.gather(1, chosen_R.unsqueeze(1)).squeeze(1) - normaliser_R
                                     : at::zeros_like(normaliser_R);
  const at::Tensor chosen = chosen_R.to(at::kCPU);
  const at::Tensor log_probability = log_probability_R.to(at::kCPU);

  std::vector<int64_t> live, tokens, parents;
  std::vector<TokenSequence> rows_left;
  std::vector<double> sums_left;
  for (size_t r = 0; r < rows_.size(); ++r) {
    const int32_t token = static_cast<int32_t>(chosen.const_data_ptr<int64_t>()[r]);
    rows_[r].push_back(token);
    log_probabilities_[r] += log_probability.const_data_ptr<float>()[r];
    if (ends(token) || length_ + 1 >= config_.max_length) {
      const double score =
          log_probabilities_[r] / std::pow(static_cast<double>(length_), config_.length_penalty);
      results_[static_cast<size_t>(live_[r])] = make_result(std::move(rows_[r]), score);
      continue;
    }
    live.push_back(live_[r]);
    tokens.push_back(token);
    parents.push_back(static_cast<int64_t>(r));
    rows_left.push_back(std::move(rows_[r]));
    sums_left.push_back(log_probabilities_[r]);
  }
  const int64_t rows_before = static_cast<int64_t>(rows_.size());
  live_ = std::move(live);
  rows_ = std::move(rows_left);
  log_probabilities_ = std::move(sums_left);
  return make_step(tokens, parents, rows_before);
}

std::unique_ptr<Search> make_search(const GenerationConfig& config, int64_t documents) {
  if (config.num_beams > 1) return std::make_unique<BeamSearch>(config, documents);
  return std::make_unique<GreedySearch>(config, documents);
}

}  // namespace precis::generate

// What the searches share, greedy search and sampling.
#include "generate/search.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "generate/ruled_out.h"

namespace precis {

const char* name(FinishReason reason) { return reason == FinishReason::kEos ? "eos" : "length"; }

}  // namespace precis

namespace precis::generate {

namespace {

std::vector<TokenSequence> take_read(std::vector<SearchedDocument>& documents) {
  std::vector<TokenSequence> read;
  for (SearchedDocument& document : documents) read.push_back(std::move(document.read));
  return read;
}

}  // namespace

Search::Search(const GenerationConfig& config, std::vector<SearchedDocument> documents)
    : config_(config),
      rules_(config, take_read(documents)),
      live_(documents.size()),
      results_(documents.size()) {
  std::iota(live_.begin(), live_.end(), 0);
  for (SearchedDocument& document : documents) {
    keys_.push_back(document.key);
    names_.push_back(std::move(document.name));
  }
}

std::string Search::place(size_t i) const {
  const std::string& name = names_[static_cast<size_t>(live_[i])];
  return name + (name.empty() ? "" : ", ") + "token " + std::to_string(length_);
}

Draw Search::next_draw(size_t i) const {
  return {.seed = config_.sampling->seed,
          .document = keys_[static_cast<size_t>(live_[i])],
          .position = static_cast<uint64_t>(length_)};
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

SequenceSearch::SequenceSearch(const GenerationConfig& config, std::vector<SearchedDocument> documents)
    : Search(config, std::move(documents)) {
  Row row;
  row.tokens = {static_cast<int32_t>(config.decoder_start_token_id)};
  rows_.assign(live_.size() * static_cast<size_t>(config.num_return_sequences), row);
}

TokenSequence SequenceSearch::certain(size_t i) const {
  const Row& row = rows_[i * static_cast<size_t>(config_.num_return_sequences)];
  return row.result ? row.result->token_ids : row.tokens;
}

// The next token of every row; of those that have ended, any.
std::vector<int64_t> SequenceSearch::choose(const at::Tensor& scores_RV) const {
  if (!config_.sampling) {
    const at::Tensor chosen_R = scores_RV.argmax(1).to(at::kCPU);
    return {chosen_R.const_data_ptr<int64_t>(), chosen_R.const_data_ptr<int64_t>() + chosen_R.numel()};
  }
  const at::Tensor scores = scores_RV.to(at::kCPU).contiguous();
  const size_t sequences = static_cast<size_t>(config_.num_return_sequences);
  std::vector<int64_t> chosen;
  for (size_t r = 0; r < rows_.size(); ++r) {
    const uint64_t key = next_draw(r / sequences).key(r % sequences);
    chosen.push_back(rows_[r].result ? rows_[r].tokens.back()
                                     : draw_token(scores[static_cast<int64_t>(r)], key));
  }
  return chosen;
}

Search::Step SequenceSearch::advance(at::Tensor logits_RV) {
  std::vector<const TokenSequence*> rows;
  for (const Row& row : rows_) rows.push_back(&row.tokens);
  at::Tensor scores_RV = logits_RV.clone();
  rules_.apply(rows, live_, scores_RV);
  const std::vector<int64_t> chosen = choose(scores_RV);
  const at::Tensor chosen_R1 = at::tensor(chosen, at::kLong).to(logits_RV.device()).unsqueeze(1);
  const at::Tensor log_probability_R =
      (logits_RV.gather(1, chosen_R1).squeeze(1) - logits_RV.logsumexp(1)).to(at::kCPU);
  const at::Tensor chosen_score_R = scores_RV.gather(1, chosen_R1).squeeze(1).to(at::kCPU);
  const bool forced = !rules_.forced(length_).empty();

  const size_t sequences = static_cast<size_t>(config_.num_return_sequences);
  std::vector<int64_t> live, tokens, parents;
  std::vector<Row> rows_left;
  for (size_t d = 0; d < live_.size(); ++d) {
    bool all_ended = true;
    for (size_t r = d * sequences; r < (d + 1) * sequences; ++r) {
      Row& row = rows_[r];
      const int32_t token = static_cast<int32_t>(chosen[r]);
      row.tokens.push_back(token);
      if (!row.result) {
        const float score = chosen_score_R.const_data_ptr<float>()[r];
        if (!std::isfinite(score)) refuse_scores(score, place(d));
        if (!forced) row.log_probability += log_probability_R.const_data_ptr<float>()[r];
        if (ends(token) || length_ + 1 >= config_.max_length) {
          const double penalty = std::pow(static_cast<double>(length_), config_.length_penalty);
          row.result = make_result(row.tokens, row.log_probability / penalty);
        }
      }
      all_ended = all_ended && row.result.has_value();
    }
    std::vector<Generated>& results = results_[static_cast<size_t>(live_[d])];
    for (size_t r = d * sequences; r < (d + 1) * sequences; ++r) {
      if (all_ended) {
        results.push_back(std::move(*rows_[r].result));
        continue;
      }
      tokens.push_back(rows_[r].tokens.back());
      parents.push_back(static_cast<int64_t>(r));
      rows_left.push_back(std::move(rows_[r]));
    }
    if (!all_ended) live.push_back(live_[d]);
  }
  const int64_t rows_before = static_cast<int64_t>(rows_.size());
  live_ = std::move(live);
  rows_ = std::move(rows_left);
  return make_step(tokens, parents, rows_before);
}

std::unique_ptr<Search> make_search(const GenerationConfig& config, std::vector<SearchedDocument> documents) {
  if (config.num_beams > 1) return std::make_unique<BeamSearch>(config, std::move(documents));
  return std::make_unique<SequenceSearch>(config, std::move(documents));
}

}  // namespace precis::generate

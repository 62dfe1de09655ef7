// The rules over next tokens.
#include "generate/logits_rules.h"

#include <algorithm>
#include <cmath>

#include "generate/ruled_out.h"
#include "generate/sampling.h"

namespace precis::generate {

namespace {

// Whether the next token can complete `ids`.
bool ends_with_prefix(const TokenSequence& row, const std::vector<int32_t>& ids) {
  return ids.size() <= row.size() + 1 &&
         std::equal(ids.begin(), ids.end() - 1, row.end() - static_cast<int64_t>(ids.size() - 1));
}

std::vector<int64_t> distinct(const TokenSequence& ids) {
  std::vector<int64_t> found(ids.begin(), ids.end());
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

at::Tensor on_device_of(const at::Tensor& scores, const std::vector<int64_t>& places) {
  return at::tensor(places, at::kLong).to(scores.device());
}

}  // namespace

// The rows of one call. A place counts in the scores seen as one row.
struct LogitsRules::Rows {
  std::span<const TokenSequence* const> rows_R;
  std::span<const int64_t> documents;
  int64_t vocabulary = 0;

  int64_t length() const { return static_cast<int64_t>(rows_R.front()->size()); }
  size_t document(size_t row) const {
    return static_cast<size_t>(documents[row / (rows_R.size() / documents.size())]);
  }

  // tokens_of(row, its index) are tokens, for each row.
  template <typename TokensOf>
  std::vector<int64_t> places(const TokensOf& tokens_of) const {
    std::vector<int64_t> found;
    for (size_t r = 0; r < rows_R.size(); ++r) {
      for (const int64_t token : tokens_of(*rows_R[r], r)) {
        found.push_back(static_cast<int64_t>(r) * vocabulary + token);
      }
    }
    return found;
  }
};

namespace {

void rule_out(const std::vector<int64_t>& places, at::Tensor& scores_RV) {
  if (!places.empty()) scores_RV.view({-1}).index_fill_(0, on_device_of(scores_RV, places), kRuledOut);
}

// A place that is named twice is changed once.
void penalise(const std::vector<int64_t>& places, double penalty, at::Tensor& scores_RV) {
  if (places.empty()) return;
  const at::Tensor index = on_device_of(scores_RV, places);
  at::Tensor flat = scores_RV.view({-1});
  const at::Tensor old = flat.index_select(0, index);
  flat.index_copy_(0, index, at::where(old < 0, old * penalty, old / penalty));
}

// Biases of one token first, then by their length, as transformers adds them up.
void add_biases(const std::vector<SequenceBias>& biases, std::span<const TokenSequence* const> rows_R,
                at::Tensor& scores_RV) {
  std::vector<const SequenceBias*> ordered;
  for (const SequenceBias& bias : biases) ordered.push_back(&bias);
  std::stable_partition(ordered.begin(), ordered.end(),
                        [](const auto* bias) { return bias->ids.size() == 1; });
  std::vector<int64_t> places;
  std::vector<float> values;
  for (size_t r = 0; r < rows_R.size(); ++r) {
    for (const SequenceBias* bias : ordered) {
      if (!ends_with_prefix(*rows_R[r], bias->ids)) continue;
      places.push_back(static_cast<int64_t>(r) * scores_RV.size(1) + bias->ids.back());
      values.push_back(static_cast<float>(bias->bias));
    }
  }
  if (places.empty()) return;
  at::Tensor added_RV = at::zeros_like(scores_RV);
  added_RV.view({-1}).index_add_(0, on_device_of(scores_RV, places),
                                 at::tensor(values, at::kFloat).to(scores_RV.device()));
  scores_RV.add_(added_RV);
}

void favour_end(const ExponentialDecay& decay, int64_t new_tokens, const std::vector<int64_t>& eos,
                at::Tensor& scores_RV) {
  if (new_tokens <= decay.start) return;
  const double growth = std::pow(decay.factor, static_cast<double>(new_tokens - decay.start)) - 1.0;
  const at::Tensor index = on_device_of(scores_RV, eos);
  const at::Tensor old = scores_RV.index_select(1, index);
  const at::Tensor added = (old.abs() * growth).masked_fill(old.isfinite().logical_not(), 0.0);
  scores_RV.index_copy_(1, index, old + added);
}

}  // namespace

LogitsRules::LogitsRules(const GenerationConfig& config, std::vector<TokenSequence> read_B)
    : config_(config) {
  for (TokenSequence& read : read_B) {
    if (config.encoder_repetition_penalty != 1.0) read_ids_B_.push_back(distinct(read));
    if (config.encoder_no_repeat_ngram_size > 0) {
      read_ngrams_B_.emplace_back(std::move(read), config.encoder_no_repeat_ngram_size);
    }
  }
}

std::vector<int64_t> repeating_tokens(const TokenSequence& row, int64_t size) {
  const int64_t length = static_cast<int64_t>(row.size());
  std::vector<int64_t> tokens;
  if (size <= 0 || length < size) return tokens;
  const auto prefix = row.end() - (size - 1);
  for (auto gram = row.begin(); gram + size <= row.end(); ++gram) {
    if (std::equal(prefix, row.end(), gram)) tokens.push_back(gram[size - 1]);
  }
  return tokens;
}

std::vector<int64_t> LogitsRules::forced(int64_t length) const {
  if (length == config_.max_length - 1 && !config_.forced_eos_token_id.empty())
    return config_.forced_eos_token_id;
  if (length == 1 && config_.forced_bos_token_id) return {*config_.forced_bos_token_id};
  return {};
}

// Whatever these rules do, a forced token takes its place.
void LogitsRules::apply_to_unforced(const Rows& rows, at::Tensor& scores_RV) const {
  if (!config_.sequence_bias.empty()) add_biases(config_.sequence_bias, rows.rows_R, scores_RV);
  if (config_.encoder_repetition_penalty != 1.0) {
    // The document's tokens are rewarded.
    penalise(rows.places([&](const TokenSequence&, size_t r) { return read_ids_B_.at(rows.document(r)); }),
             1.0 / config_.encoder_repetition_penalty, scores_RV);
  }
  if (config_.repetition_penalty != 1.0) {
    penalise(rows.places([](const TokenSequence& row, size_t) { return row; }), config_.repetition_penalty,
             scores_RV);
  }
  rule_out(rows.places([&](const TokenSequence& row, size_t) {
    return repeating_tokens(row, config_.no_repeat_ngram_size);
  }),
           scores_RV);
  if (config_.encoder_no_repeat_ngram_size > 0) {
    rule_out(rows.places([&](const TokenSequence& row, size_t r) {
      return read_ngrams_B_.at(rows.document(r)).completions(row);
    }),
             scores_RV);
  }
  rule_out(rows.places([&](const TokenSequence& row, size_t) {
    std::vector<int64_t> bad;
    for (const std::vector<int32_t>& word : config_.bad_words_ids) {
      if (ends_with_prefix(row, word)) bad.push_back(word.back());
    }
    return bad;
  }),
           scores_RV);
  if (rows.length() < config_.min_length) {
    rule_out(rows.places([&](const TokenSequence&, size_t) { return config_.eos_token_id; }), scores_RV);
  }
}

void LogitsRules::apply(std::span<const TokenSequence* const> rows_R, std::span<const int64_t> documents,
                        at::Tensor& scores_RV) const {
  const Rows rows{rows_R, documents, scores_RV.size(1)};
  const std::vector<int64_t> must = forced(rows.length());
  if (must.empty()) {
    apply_to_unforced(rows, scores_RV);
  } else {
    scores_RV.fill_(kRuledOut);
    scores_RV.index_fill_(1, on_device_of(scores_RV, must), 0.0);
  }
  if (config_.exponential_decay_length_penalty) {
    favour_end(*config_.exponential_decay_length_penalty, rows.length() - 1, config_.eos_token_id, scores_RV);
  }
  rule_out(rows.places([&](const TokenSequence&, size_t) { return config_.suppress_tokens; }), scores_RV);
  // Behind a forced first token the second is where a summary begins.
  if (rows.length() == (config_.forced_bos_token_id ? 2 : 1)) {
    rule_out(rows.places([&](const TokenSequence&, size_t) { return config_.begin_suppress_tokens; }),
             scores_RV);
  }
  if (config_.sampling) {
    // Beams need a token besides each end.
    const int64_t ends = std::max<int64_t>(1, static_cast<int64_t>(config_.eos_token_id.size()));
    filter(*config_.sampling, config_.num_beams > 1 ? ends + 1 : 1, scores_RV);
  }
  if (config_.renormalize_logits) scores_RV.copy_(scores_RV.log_softmax(1));
}

}  // namespace precis::generate

// The rules over next tokens.
#include "generate/logits_rules.h"

#include <algorithm>
#include <limits>

namespace precis::generate {

namespace {

constexpr double kRuledOut = -std::numeric_limits<double>::infinity();

}  // namespace

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

void LogitsRules::apply(std::span<const TokenSequence* const> rows_R, at::Tensor& scores_RV) const {
  const int64_t length = static_cast<int64_t>(rows_R.front()->size());
  const std::vector<int64_t> must = forced(length);
  if (!must.empty()) {
    scores_RV.fill_(kRuledOut);
    scores_RV.index_fill_(1, at::tensor(must, at::kLong).to(scores_RV.device()), 0.0);
    return;
  }
  const int64_t vocabulary = scores_RV.size(1);
  std::vector<int64_t> banned;  // places in the scores seen as one row
  for (size_t r = 0; r < rows_R.size(); ++r) {
    for (const int64_t token : repeating_tokens(*rows_R[r], config_.no_repeat_ngram_size)) {
      banned.push_back(static_cast<int64_t>(r) * vocabulary + token);
    }
    if (length >= config_.min_length) continue;
    for (const int64_t token : config_.eos_token_id) {
      banned.push_back(static_cast<int64_t>(r) * vocabulary + token);
    }
  }
  if (banned.empty()) return;
  scores_RV.view({-1}).index_fill_(0, at::tensor(banned, at::kLong).to(scores_RV.device()), kRuledOut);
}

}  // namespace precis::generate

// ROUGE over tokens given small numbers.
#include "evaluate/rouge.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <unordered_map>

#include "evaluate/lcs.h"
#include "evaluate/porter_stemmer.h"

namespace precis::evaluate {

namespace {

using Ids = std::vector<int32_t>;

Score make_score(double hits, double predicted, double wanted) {
  Score score;
  if (predicted > 0) score.precision = hits / predicted;
  if (wanted > 0) score.recall = hits / wanted;
  const double sum = score.precision + score.recall;
  if (sum > 0) score.fmeasure = 2 * score.precision * score.recall / sum;
  return score;
}

// Numbers for tokens, the same in both texts.
class Numbering {
 public:
  explicit Numbering(bool stemmer) : stemmer_(stemmer) {}

  Ids tokens(std::string_view text) {
    Ids ids;
    for (std::string& token : rouge_tokens(text, stemmer_)) {
      ids.push_back(
          numbers_.try_emplace(std::move(token), static_cast<int32_t>(numbers_.size())).first->second);
    }
    return ids;
  }

 private:
  bool stemmer_;
  std::unordered_map<std::string, int32_t> numbers_;
};

std::unordered_map<int64_t, int64_t> count_ngrams(const Ids& ids, int n) {
  std::unordered_map<int64_t, int64_t> counts;
  for (size_t i = n - 1; i < ids.size(); ++i) {
    const int64_t before = n == 2 ? ids[i - 1] + int64_t{1} : 0;
    ++counts[before << 32 | ids[i]];
  }
  return counts;
}

// n is 1 or 2.
Score ngram_score(const Ids& reference, const Ids& prediction, int n) {
  const auto wanted = count_ngrams(reference, n), found = count_ngrams(prediction, n);
  int64_t hits = 0;
  for (const auto& [ngram, count] : wanted) {
    const auto other = found.find(ngram);
    if (other != found.end()) hits += std::min(count, other->second);
  }
  const auto total = [n](const Ids& ids) { return std::max(0.0, static_cast<double>(ids.size()) - n + 1); };
  return make_score(static_cast<double>(hits), total(prediction), total(reference));
}

std::vector<Ids> sentences(std::string_view text, Numbering& numbering) {
  std::vector<Ids> result;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) result.push_back(numbering.tokens(text.substr(0, end)));
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return result;
}

// The union over the prediction's sentences of each reference sentence's common subsequences (Lin 2004, 3.2);
// a token counts as often as both texts hold it.
Score summary_level_score(const std::vector<Ids>& reference, const std::vector<Ids>& prediction,
                          const StopToken* stop) {
  std::unordered_map<int32_t, int64_t> left_in_reference, left_in_prediction;
  double wanted = 0, predicted = 0;
  for (const Ids& sentence : reference) {
    wanted += static_cast<double>(sentence.size());
    for (const int32_t token : sentence) ++left_in_reference[token];
  }
  for (const Ids& sentence : prediction) {
    predicted += static_cast<double>(sentence.size());
    for (const int32_t token : sentence) ++left_in_prediction[token];
  }
  double hits = 0;
  for (const Ids& sentence : reference) {
    std::set<int64_t> positions;
    for (const Ids& candidate : prediction) {
      for (const int64_t position : lcs_positions(sentence, candidate, stop)) positions.insert(position);
    }
    for (const int64_t position : positions) {
      int64_t& in_reference = left_in_reference[sentence[position]];
      int64_t& in_prediction = left_in_prediction[sentence[position]];
      if (in_reference > 0 && in_prediction > 0) {
        ++hits;
        --in_reference;
        --in_prediction;
      }
    }
  }
  return wanted == 0 || predicted == 0 ? Score{} : make_score(hits, predicted, wanted);
}

bool is_token_byte(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

std::vector<std::string> rouge_tokens(std::string_view text, bool stemmer) {
  std::vector<std::string> tokens;
  std::string token;
  const auto finish = [&] {
    if (token.empty()) return;
    tokens.push_back(stemmer && token.size() > 3 ? porter_stem(token) : token);
    token.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
    // Two characters outside ASCII become ASCII letters in lower case: U+212A, the Kelvin sign, is k, and
    // U+0130, the dotted capital I, is i and a combining dot, which ends the token.
    if (text.substr(i, 3) == "\xE2\x84\xAA") {
      token += 'k';
      i += 2;
    } else if (text.substr(i, 2) == "\xC4\xB0") {
      token += 'i';
      finish();
      i += 1;
    } else if (is_token_byte(c)) {
      token += c;
    } else {
      finish();
    }
  }
  finish();
  return tokens;
}

RougeScores rouge(std::string_view reference, std::string_view prediction, bool stemmer,
                  const StopToken* stop) {
  Numbering numbering(stemmer);
  const Ids wanted = numbering.tokens(reference), found = numbering.tokens(prediction);
  return {ngram_score(wanted, found, 1), ngram_score(wanted, found, 2),
          make_score(static_cast<double>(lcs_length(wanted, found, stop)), static_cast<double>(found.size()),
                     static_cast<double>(wanted.size())),
          summary_level_score(sentences(reference, numbering), sentences(prediction, numbering), stop)};
}

RougeScores rouge(std::span<const std::string> references, std::string_view prediction, bool stemmer,
                  const StopToken* stop) {
  RougeScores best = rouge(references[0], prediction, stemmer, stop);
  for (const std::string& reference : references.subspan(1)) {
    const RougeScores scores = rouge(reference, prediction, stemmer, stop);
    for (size_t type = 0; type < best.size(); ++type) {
      if (scores[type].fmeasure > best[type].fmeasure) best[type] = scores[type];
    }
  }
  return best;
}

}  // namespace precis::evaluate

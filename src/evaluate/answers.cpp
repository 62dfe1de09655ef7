// SQuAD's normalisation: lower case, no punctuation, no articles, single spaces, in this order.
#include "evaluate/answers.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "text/lower_case.h"
#include "text/unicode.h"

namespace precis::evaluate {

namespace {

// Python's string.punctuation.
bool is_punctuation(char c) {
  return std::string_view("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~").find(c) != std::string_view::npos;
}

// What str.split() splits at: the regular expressions' white space and the four separators U+001C to U+001F.
bool is_space(char32_t c) { return char_class(c) == CharClass::kSpace || (c >= 0x1C && c <= 0x1F); }

// What `\b` of Python's `re` takes for a part of a word, once punctuation is gone.
bool is_word(char32_t c) {
  return char_class(c) == CharClass::kLetter || char_class(c) == CharClass::kNumber;
}

bool is_article(std::string_view word) { return word == "a" || word == "an" || word == "the"; }

// The words of a normalised text.
std::vector<std::string> words_of(std::string_view text) {
  std::string plain = lower_case(text);
  std::erase_if(plain, is_punctuation);
  // Runs of word characters that are articles become white space; the rest is split at white space.
  std::vector<std::string> words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  for (size_t i = 0; i < plain.size();) {
    const CodePoint first = code_point_at(plain, i);
    size_t end = i + first.length;
    if (is_word(first.value)) {
      while (end < plain.size() && is_word(code_point_at(plain, end).value)) {
        end += code_point_at(plain, end).length;
      }
    }
    const std::string_view piece = std::string_view(plain).substr(i, end - i);
    if (is_space(first.value) || is_article(piece)) {
      finish();
    } else {
      word += piece;
    }
    i = end;
  }
  finish();
  return words;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

double f1(const std::vector<std::string>& reference, const std::vector<std::string>& prediction) {
  if (reference.empty() || prediction.empty()) return reference.empty() == prediction.empty() ? 1.0 : 0.0;
  std::unordered_map<std::string_view, int64_t> left;
  for (const std::string& word : reference) ++left[word];
  int64_t same = 0;
  for (const std::string& word : prediction) {
    const auto found = left.find(word);
    if (found != left.end() && found->second-- > 0) ++same;
  }
  if (same == 0) return 0.0;
  const double precision = static_cast<double>(same) / static_cast<double>(prediction.size());
  const double recall = static_cast<double>(same) / static_cast<double>(reference.size());
  return 2 * precision * recall / (precision + recall);
}

}  // namespace

std::string normalize_answer(std::string_view text) { return joined(words_of(text)); }

AnswerScore answer_score(std::span<const std::string> references, std::string_view prediction) {
  const std::vector<std::string> predicted = words_of(prediction);
  AnswerScore best;
  for (const std::string& reference : references) {
    const std::vector<std::string> wanted = words_of(reference);
    best.exact_match = std::max(best.exact_match, wanted == predicted ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1(wanted, predicted));
  }
  return best;
}

}  // namespace precis::evaluate

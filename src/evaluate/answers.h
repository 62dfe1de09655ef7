// Exact match and F1 of answers in reading comprehension, as SQuAD's evaluation script (Rajpurkar et al.
// 2016) and torchmetrics' SQuAD compute them.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace precis::evaluate {

// In lower case, without ASCII punctuation and the articles a, an and the; one space between words. UTF-8.
std::string normalize_answer(std::string_view text);

struct AnswerScore {
  double exact_match = 0.0;  // 0 or 1
  double f1 = 0.0;           // of the bags of words, 0 to 1
};

// For each the best over the references, of which there is at least one. Where a side has no word left, F1 is
// 1 if neither has, else 0.
AnswerScore answer_score(std::span<const std::string> references, std::string_view prediction);

}  // namespace precis::evaluate

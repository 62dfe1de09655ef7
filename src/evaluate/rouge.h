// ROUGE-1, -2, -L and -Lsum (Lin 2004) as the package rouge-score 0.1.2 computes them.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/stop.h"

namespace precis::evaluate {

struct Score {
  double precision = 0.0;
  double recall = 0.0;
  double fmeasure = 0.0;
};

inline constexpr std::array<const char*, 4> kRougeNames = {"rouge1", "rouge2", "rougeL", "rougeLsum"};
// In the order of kRougeNames.
using RougeScores = std::array<Score, 4>;

// Lower-cased runs of a-z and 0-9; longer than three letters they are stemmed where `stemmer`.
std::vector<std::string> rouge_tokens(std::string_view text, bool stemmer);

// UTF-8 texts. rougeLsum splits at newlines only. A requested stop is an Error of its reason.
RougeScores rouge(std::string_view reference, std::string_view prediction, bool stemmer,
                  const StopToken* stop = nullptr);

// For each type the score of the reference with the best F-measure, the first of equals. `references` not
// empty.
RougeScores rouge(std::span<const std::string> references, std::string_view prediction, bool stemmer,
                  const StopToken* stop = nullptr);

}  // namespace precis::evaluate

// Tokens that may not be written, and scores that no token can be chosen by.
#pragma once

#include <limits>
#include <string>

#include "base/error.h"

namespace precis::generate {

// Their score.
inline constexpr double kRuledOut = -std::numeric_limits<double>::infinity();

// For the greatest score of a document's next tokens where that is not finite: transformers would write a
// token all the same. `where` names the document and the token.
[[noreturn]] inline void refuse_scores(double greatest, const std::string& where) {
  // Scores of which all are ruled out are NaN once they are normalised.
  const bool none = greatest == kRuledOut;
  throw Error(ErrorKind::kUsage,
              {.what = none ? "the generation settings rule out every token"
                            : "the generation settings take scores beyond float32, or rule out every token",
               .where = where,
               .hint = none ? "suppress fewer, or ban fewer repetitions"
                            : "give smaller biases and penalties nearer to 1"});
}

}  // namespace precis::generate

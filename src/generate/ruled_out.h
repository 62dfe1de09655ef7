// Tokens that may not be written.
#pragma once

#include <limits>

#include "base/error.h"

namespace precis::generate {

// Their score.
inline constexpr double kRuledOut = -std::numeric_limits<double>::infinity();

// transformers would write one of them.
[[noreturn]] inline void refuse_ruling_out_all() {
  throw Error(ErrorKind::kUsage, {.what = "the generation settings rule out every token",
                                  .hint = "suppress fewer, or ban fewer repetitions"});
}

}  // namespace precis::generate

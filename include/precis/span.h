// A stretch of a source text.
#pragma once

#include <cstdint>

namespace precis {

// [begin, end) in Unicode code points of the source document.
struct SourceSpan {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const SourceSpan&) const = default;
};

}  // namespace precis

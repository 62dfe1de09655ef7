// The passages that a summary's sentences come from, for people to read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "precis/summary.h"

namespace precis::cli {

// The code points [begin, end) of a UTF-8 text.
std::string_view span_text(std::string_view text, const SourceSpan& span);

// Each sentence, numbered, and under it its passages: share of the attention, place, and the passage's words,
// cut where they are many.
std::string describe_sources(const std::vector<SentenceSources>& sources, std::string_view document);

}  // namespace precis::cli

// Sentences and passages as lines of text.
#include "cli/sources_text.h"

#include <cstdio>

#include "text/unicode.h"

namespace precis::cli {

namespace {

// Shown of a passage; the offsets name the whole.
constexpr size_t kShownCharacters = 160;

// Code points counted up to where a walk over the text has come.
struct Walk {
  size_t byte = 0;
  int64_t code_points = 0;

  size_t to(std::string_view text, int64_t target) {
    for (; code_points < target && byte < text.size(); ++code_points) {
      byte += static_cast<size_t>(code_point_at(text, byte).length);
    }
    return byte;
  }
};

// White space, line ends included, becomes single spaces.
std::string one_line(std::string_view text) {
  std::string line;
  size_t shown = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    const bool space = char_class(c.value) == CharClass::kSpace;
    if (!space && shown++ == kShownCharacters) return line + "...";
    if (!space) {
      line += text.substr(i, static_cast<size_t>(c.length));
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
    i += static_cast<size_t>(c.length);
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

}  // namespace

std::string_view span_text(std::string_view text, const SourceSpan& span) {
  Walk walk;
  const size_t begin = walk.to(text, span.begin);
  return text.substr(begin, walk.to(text, span.end) - begin);
}

std::string describe_sources(const std::vector<SentenceSources>& sources, std::string_view document) {
  std::string text;
  for (size_t s = 0; s < sources.size(); ++s) {
    text += std::to_string(s + 1) + ". " + one_line(sources[s].sentence) + "\n";
    for (const Passage& passage : sources[s].passages) {
      char share[16];
      std::snprintf(share, sizeof share, "%5.1f %%", 100 * passage.weight);
      text += "   " + std::string(share) + "  [" + std::to_string(passage.span.begin) + ", " +
              std::to_string(passage.span.end) + ")  " + one_line(span_text(document, passage.span)) + "\n";
    }
  }
  return text;
}

}  // namespace precis::cli

// ICU's break iterator over UTF-8.
#include "text/sentences.h"

#include <unicode/brkiter.h>
#include <unicode/locid.h>
#include <unicode/utext.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "io/utf8.h"
#include "text/unicode.h"

namespace precis {

namespace {

void check(UErrorCode code, const char* what) {
  if (U_FAILURE(code)) throw Error(ErrorKind::kInternal, {.what = what, .found = u_errorName(code)});
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

// Spaces in place of the line ends between two lines of a paragraph: the rules take every line end for the
// end of a sentence. No byte moves.
std::string without_wrapping(std::string_view text) {
  std::string result(text);
  size_t begin = 0;  // of the line that `end` ends
  for (size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n', begin)) {
    const std::string_view line = text.substr(begin, end - begin);
    const size_t next_end = std::min(text.find('\n', end + 1), text.size());
    const std::string_view next = text.substr(end + 1, next_end - end - 1);
    if (!is_blank(line) && !is_blank(next)) {
      result[end] = ' ';
      if (line.back() == '\r') result[end - 1] = ' ';
    }
    begin = end + 1;
  }
  return result;
}

bool is_space(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const CodePoint character = code_point_at(text, i);
    if (char_class(character.value) != CharClass::kSpace) return false;
    i += static_cast<size_t>(character.length);
  }
  return true;
}

int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char byte) { return !is_continuation_byte(byte); });
}

}  // namespace

struct SentenceSplitter::Rules {
  std::unique_ptr<icu::BreakIterator> iterator;
};

SentenceSplitter::SentenceSplitter() : rules_(std::make_unique<Rules>()) {
  UErrorCode code = U_ZERO_ERROR;
  rules_->iterator.reset(icu::BreakIterator::createSentenceInstance(icu::Locale("en@ss=standard"), code));
  check(code, "ICU has no rules for sentences");
}

SentenceSplitter::SentenceSplitter(SentenceSplitter&&) noexcept = default;
SentenceSplitter& SentenceSplitter::operator=(SentenceSplitter&&) noexcept = default;
SentenceSplitter::~SentenceSplitter() = default;

std::vector<SourceSpan> SentenceSplitter::split(std::string_view utf8) {
  if (const size_t bad = find_invalid_utf8(utf8); bad != std::string_view::npos) {
    throw Error(ErrorKind::kData,
                {.what = "the text is not valid UTF-8", .found = describe_invalid_utf8(utf8, bad)});
  }
  const std::string text = without_wrapping(utf8);
  UErrorCode code = U_ZERO_ERROR;
  const std::unique_ptr<UText, decltype(&utext_close)> opened(
      utext_openUTF8(nullptr, text.data(), static_cast<int64_t>(text.size()), &code), utext_close);
  check(code, "ICU can't read the text");
  rules_->iterator->setText(opened.get(), code);
  check(code, "ICU can't read the text");

  std::vector<SourceSpan> sentences;
  bool only_space = false;  // all of the latest sentence: what follows belongs to it
  size_t begin = 0;
  int64_t position = 0;
  rules_->iterator->first();
  for (int32_t end = rules_->iterator->next(); end != icu::BreakIterator::DONE;
       end = rules_->iterator->next()) {
    const std::string_view part = std::string_view(text).substr(begin, static_cast<size_t>(end) - begin);
    const int64_t next = position + code_points(part);
    const bool space = is_space(part);
    if (!sentences.empty() && (space || only_space)) {
      sentences.back().end = next;
      only_space = only_space && space;
    } else {
      sentences.push_back({position, next});
      only_space = space;
    }
    begin = static_cast<size_t>(end);
    position = next;
  }
  return sentences;
}

}  // namespace precis

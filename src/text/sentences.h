// Sentence boundaries: ICU's rules for English (Unicode UAX 29) with its list of abbreviations that end no
// sentence (`en@ss=standard`).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/span.h"

namespace precis {

// Making one takes milliseconds; it is used by one thread at a time.
class SentenceSplitter {
 public:
  SentenceSplitter();
  SentenceSplitter(SentenceSplitter&&) noexcept;
  SentenceSplitter& operator=(SentenceSplitter&&) noexcept;
  ~SentenceSplitter();

  // The sentences of a text, in order and without gaps: white space belongs to the sentence before it. A line
  // end is as good as a space, since much text is wrapped; a blank line ends a sentence. An empty text has
  // none. Linear time. Throws Error{kData} with the byte offset where `utf8` is not UTF-8.
  std::vector<SourceSpan> split(std::string_view utf8);

 private:
  struct Rules;
  std::unique_ptr<Rules> rules_;
};

}  // namespace precis

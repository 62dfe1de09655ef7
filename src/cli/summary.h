// A document's summary as the program prints it.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "generate/generate.h"
#include "io/json.h"
#include "precis/summary.h"
#include "text/tokenizer.h"

namespace precis::cli {

// `peak_bytes`: of memory, or of the GPU's.
Json to_json(const Summary& summary, const std::string& model, int64_t peak_bytes, bool explain);

// Lines for people: the summary, or each of several sequences behind its number; then the sources, with words
// of the document.
std::string to_text(const Summary& summary, const std::string& document, bool explain);

// Writes a summary to stdout while its tokens are decided: what it writes never has to be taken back.
class SummaryStream {
 public:
  // `separator` goes before the first text, and `before_first` is called before it, to clear the screen for
  // it. The tokenizer must outlive this.
  SummaryStream(const Tokenizer& tokenizer, std::string separator, std::function<void()> before_first)
      : tokenizer_(tokenizer), pending_(std::move(separator)), before_first_(std::move(before_first)) {}

  // `ids` only ever grow. Throws Error{kIo} where stdout can't be written.
  void update(const generate::TokenSequence& ids);
  // What is still missing of the summary's text.
  void finish(std::string_view text);
  // Ends the line of a text that is not to be finished.
  void break_off();
  bool started() const { return started_; }

 private:
  void write(std::string_view text);

  const Tokenizer& tokenizer_;
  std::string pending_;
  std::function<void()> before_first_;
  size_t written_ = 0;  // bytes of the text
  bool started_ = false;
};

}  // namespace precis::cli

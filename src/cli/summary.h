// A document's summary as the program prints it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/search.h"
#include "generate/sources.h"
#include "io/json.h"
#include "text/tokenizer.h"

namespace precis::cli {

// Of several documents that were encoded and decoded together each has a share: of `encode` by its memory
// rows, of `decode` by the tokens written for it. Shares add up to the time that passed.
struct Seconds {
  double load = 0, read = 0, encode = 0, decode = 0, explain = 0;

  double total() const { return load + read + encode + decode + explain; }
};

struct Sequence {
  std::string text;
  generate::Generated generated;

  int64_t output_tokens() const { return static_cast<int64_t>(generated.token_ids.size()) - 1; }
};

struct Summary {
  std::string id;
  std::vector<Sequence> sequences;  // at least one; the first is the summary
  std::optional<uint64_t> seed;     // where it was sampled
  int64_t input_tokens = 0;
  int64_t windows = 0;
  int64_t memory_rows = 0;
  // Decoder layers by how they attended to the memory (memory/cross_attention.h).
  int64_t held_layers = 0, absorbed_layers = 0;
  Seconds seconds;
  // With --explain, of the first sequence:
  std::string source;
  std::vector<generate::SentenceSources> sources;

  int64_t output_tokens() const;  // of all sequences
};

Json to_json(const Summary& summary, const std::string& model, bool explain);

// Lines for people: the summary, or each of several sequences behind its number; then the sources.
std::string to_text(const Summary& summary, bool explain);

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

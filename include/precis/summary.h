// What is made of a document: its summary, how it was read, and where each sentence came from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "precis/span.h"

namespace precis {

// kLength also where the end was forced at max_length (forced_eos_token_id): the model had not ended by
// itself.
enum class FinishReason { kEos, kLength };
// "eos", "length"
const char* name(FinishReason reason);

struct Sequence {
  std::string text;                // special tokens skipped; broken bytes are U+FFFD
  std::vector<int32_t> token_ids;  // as transformers' generate() returns them, the start token included
  FinishReason finish_reason = FinishReason::kLength;
  // Over (new tokens) ^ length_penalty: with beams the sum of the tokens' scores that they were ranked by;
  // without, of their log-probabilities in the model's own distribution.
  double score = 0.0;

  int64_t output_tokens() const { return static_cast<int64_t>(token_ids.size()) - 1; }
};

struct Passage {
  SourceSpan span;      // of the document
  double weight = 0.0;  // its share of the attention that fell on the document's text, 0 to 1
};

struct SentenceSources {
  std::string sentence;
  std::vector<Passage> passages;  // heaviest first
};

// Of several documents that were encoded and decoded together each has a share: of `encode` by its memory
// rows, of `decode` by the tokens written for it. Shares add up to the time that passed.
struct Seconds {
  double load = 0, read = 0, encode = 0, decode = 0, explain = 0;

  double total() const { return load + read + encode + decode + explain; }
};

struct Summary {
  std::string id;                   // the document's
  std::vector<Sequence> sequences;  // num_return_sequences; the first is the summary
  std::optional<uint64_t> seed;     // where it was sampled
  int64_t input_tokens = 0;         // of the whole document, special tokens not counted: all were read
  int64_t windows = 0;              // encoder inputs that it took
  int64_t memory_rows = 0;          // encoder states that the decoder attends to
  // Decoder layers that held keys and values of the memory, and those that were absorbed to save memory
  // (docs/generation.md). Both give the same result.
  int64_t held_layers = 0, absorbed_layers = 0;
  Seconds seconds;
  std::vector<SentenceSources> sources;  // of the first sequence, where they were asked for

  const std::string& text() const { return sequences.front().text; }
  int64_t output_tokens() const;  // of all sequences
};

}  // namespace precis

// Byte-level BPE (GPT-2, RoBERTa, BART) as Hugging Face's `tokenizers` reads and applies it: the same ids for
// every text, or an Error for whatever a tokenizer file asks for that is not built here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "precis/span.h"

namespace precis {

struct Encoding {
  std::vector<int32_t> ids;
  // One for each id, in code points of the text. A leading space belongs to its token; a token that holds a
  // part of a character covers that character. Empty where EncodeOptions::offsets is off.
  std::vector<SourceSpan> offsets;
};

struct EncodeOptions {
  bool special_as_text = false;  // added tokens written in the text are plain text, not parsed
  bool offsets = true;
};

// A file of a tokenizer as it was read, to be copied into a model directory.
struct TokenizerFile {
  std::string name;
  std::string bytes;
};

// Immutable and cheap to copy; all members may be called from several threads at once.
class Tokenizer {
 public:
  // Reads `tokenizer.json`, else `vocab.json` + `merges.txt` with BART's special tokens (those in
  // `special_tokens_map.json`, `tokenizer_config.json` and `added_tokens.json` take precedence).
  // Throws Error{kModel} naming any file, field or component that is missing, malformed or not built.
  static Tokenizer load(const std::filesystem::path& directory);

  // Whether the directory has one: a tokenizer.json or a vocab.json.
  static bool is_there(const std::filesystem::path& directory);

  // Puts no special tokens around. Throws Error{kData} with the byte offset where `utf8` is not UTF-8, and
  // Error{kModel} where the vocabulary has neither a token for a byte of it nor an unknown token.
  Encoding encode(std::string_view utf8, const EncodeOptions& options = {}) const;

  // No clean-up of spaces; broken bytes become U+FFFD; ids that name no token are skipped.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  std::optional<int32_t> token_to_id(std::string_view token) const;
  // Throws Error{kModel} where the id names no token.
  const std::string& id_to_token(int32_t id) const;
  // The number of tokens, added ones included, as `len(tokenizer)` of transformers.
  int32_t size() const;
  // One above the largest id: the least number of rows an embedding needs.
  int32_t id_limit() const;
  bool is_special(int32_t id) const;

  // Ids of the special tokens <s>, </s>, <pad>, <unk>, <mask>, or what the directory's files name instead.
  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;
  std::optional<int32_t> pad() const;
  std::optional<int32_t> unk() const;
  std::optional<int32_t> mask() const;

  // The files that were read; the directory `load` was given holds at least these.
  const std::vector<TokenizerFile>& files() const;

  struct Parts;  // tokenizer_parts.h
  explicit Tokenizer(std::shared_ptr<const Parts> parts);

 private:
  std::shared_ptr<const Parts> parts_;
};

}  // namespace precis

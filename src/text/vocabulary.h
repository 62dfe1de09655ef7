// A tokenizer's definition, as its files state it and before it is made ready to encode.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/json.h"
#include "text/added_tokens.h"

namespace precis {

struct TokenizerDefinition {
  std::string where;                                        // file to name in errors
  std::vector<std::pair<std::string, int32_t>> vocabulary;  // the model's, in the file's order
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::optional<std::string> unknown;                       // the model's token for bytes without one
  bool fuse_unknown = false;
  bool ignore_merges = false;
  bool add_prefix_space = false;
  bool split_words = true;
  std::vector<AddedToken> added;  // id < 0: to be given, as for a token that the vocabulary holds
};

// A tokenizer.json. Throws Error{kModel} naming `where` and the field for whatever isn't known here.
TokenizerDefinition parse_tokenizer_json(const Json& json, const std::string& where);

// A vocab.json and a merges.txt with the settings of BART's tokenizer, without added tokens.
TokenizerDefinition parse_vocab_and_merges(const Json& vocab, const std::string& merges,
                                           const std::string& vocab_where, const std::string& merges_where);

// A token object of Hugging Face's files; `id` is left -1.
AddedToken parse_added_token(const Json& json, const std::string& where);

}  // namespace precis

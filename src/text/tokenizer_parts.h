// What a loaded tokenizer consists of. Filled in by tokenizer_load.cpp, used by tokenizer.cpp.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/tokenizer.h"
#include "text/word_cache.h"

namespace precis {

struct SpecialTokenIds {
  std::optional<int32_t> bos, eos, pad, unk, mask;
};

// One cache for each thread that encodes at the same time; they are kept between calls.
class WordCachePool {
 public:
  std::unique_ptr<WordCache> take();
  void give_back(std::unique_ptr<WordCache> cache);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<WordCache>> free_;
};

struct Tokenizer::Parts {
  std::unordered_map<std::string, int32_t> vocabulary;  // the model's and the added tokens
  std::unordered_map<int32_t, std::string> tokens;      // the same by id
  std::unordered_set<int32_t> special;
  int32_t id_limit = 0;
  SpecialTokenIds ids;
  AddedTokens added;
  BytePairEncoder encoder;
  bool add_prefix_space = false;
  bool split_words = true;                               // cut by the GPT-2 pattern before merging
  bool ignore_merges = false;                            // a word in `model_words` is that token
  std::unordered_map<std::string, int32_t> model_words;  // only where ignore_merges
  std::vector<TokenizerFile> files;
  mutable WordCachePool caches;
};

}  // namespace precis

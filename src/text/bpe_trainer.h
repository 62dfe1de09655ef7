// Learns a byte-level BPE vocabulary from texts (Sennrich et al. 2016), with the ties of `tokenizers`: the
// pair with the highest count first; of equal counts, the one whose left id, then right id, is lowest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/stop.h"
#include "text/tokenizer.h"

namespace precis {

// Ids: <s> <pad> </s> <unk>, the 256 bytes in the order of their characters, the merged tokens, <mask>.
struct TrainedVocabulary {
  std::vector<std::string> tokens;                          // by id, as byte characters
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
};

class BpeTrainer {
 public:
  // Counts the words of a text of valid UTF-8 (else Error{kData} with the byte offset). Texts are
  // independent: no word reaches across two.
  void add(std::string_view text);

  // At most `vocabulary_size` tokens, fewer where the texts hold no more pairs. Throws Error{kUsage} below
  // kSmallestVocabulary, Error with the stop's reason between two merges. The same texts in any order give
  // the same vocabulary.
  TrainedVocabulary train(int32_t vocabulary_size, const StopToken* stop = nullptr) const;

  static constexpr int32_t kSmallestVocabulary = 4 + 256 + 1;

 private:
  std::unordered_map<std::string, int64_t> word_counts_;
};

// tokenizer.json, vocab.json, merges.txt and tokenizer_config.json, as `tokenizers` and `transformers`
// (BART's classes) load them.
std::vector<TokenizerFile> tokenizer_files(const TrainedVocabulary& vocabulary);

}  // namespace precis

// A hash table of words with their bytes and tokens in two arenas.
#include "text/word_cache.h"

#include <cstring>

#include "base/random.h"

namespace precis {

uint64_t WordCache::hash(std::string_view word) {
  uint64_t state = word.size();
  size_t position = 0;
  for (; position + 8 <= word.size(); position += 8) {
    uint64_t chunk;
    std::memcpy(&chunk, word.data() + position, 8);
    state = mix64(state ^ chunk);
  }
  uint64_t chunk = 0;
  std::memcpy(&chunk, word.data() + position, word.size() - position);
  return mix64(state ^ chunk);
}

size_t WordCache::slot_of(std::string_view word, uint64_t hash) const {
  for (size_t slot = hash & (kSlots - 1);; slot = (slot + 1) & (kSlots - 1)) {
    const Slot& entry = slots_[slot];
    if (entry.token_count == 0) return slot;
    if (entry.hash == hash && word == std::string_view(words_).substr(entry.word, entry.word_size))
      return slot;
  }
}

std::span<const WordToken> WordCache::find(std::string_view word, uint64_t hash) const {
  const Slot& entry = slots_[slot_of(word, hash)];
  return {tokens_.data() + entry.tokens, entry.token_count};
}

void WordCache::insert(std::string_view word, uint64_t hash, std::span<const WordToken> tokens) {
  if (word.size() > kMaxWordBytes || tokens.empty()) return;
  if (count_ == kMaxWords) {
    slots_.assign(kSlots, {});
    words_.clear();
    tokens_.clear();
    count_ = 0;
  }
  slots_[slot_of(word, hash)] = {hash, static_cast<uint32_t>(words_.size()),
                                 static_cast<uint32_t>(tokens_.size()), static_cast<uint16_t>(word.size()),
                                 static_cast<uint16_t>(tokens.size())};
  words_ += word;
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  ++count_;
}

}  // namespace precis

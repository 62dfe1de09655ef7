// Remembers how words were encoded. Natural text repeats few words, so most are looked up.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"

namespace precis {

// Holds up to kMaxWords words and is emptied when full. Not for several threads at once.
class WordCache {
 public:
  WordCache() : slots_(kSlots) {}

  // Longer words seldom come back.
  static constexpr size_t kMaxWordBytes = 64;
  static uint64_t hash(std::string_view word);

  // Valid until the next insert. Empty where the word isn't known (no word encodes to nothing).
  std::span<const WordToken> find(std::string_view word, uint64_t hash) const;
  void insert(std::string_view word, uint64_t hash, std::span<const WordToken> tokens);

 private:
  static constexpr size_t kSlots = size_t{1} << 16;
  static constexpr size_t kMaxWords = kSlots / 2;

  struct Slot {
    uint64_t hash = 0;
    uint32_t word = 0;
    uint32_t tokens = 0;
    uint16_t word_size = 0;
    uint16_t token_count = 0;  // 0: free
  };

  size_t slot_of(std::string_view word, uint64_t hash) const;

  std::vector<Slot> slots_;
  std::string words_;
  std::vector<WordToken> tokens_;
  size_t count_ = 0;
};

}  // namespace precis

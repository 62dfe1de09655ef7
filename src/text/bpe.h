// Byte-pair encoding of one word: the merge with the lowest rank first, the leftmost of equals, until none is
// left (Sennrich et al. 2016; the order of `tokenizers`).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace precis {

// A token of a word and the number of the word's bytes that it stands for.
struct WordToken {
  int32_t id = 0;
  int32_t bytes = 0;
};

// What (left, right) merges into, and how early.
struct Merge {
  int32_t left = 0;
  int32_t right = 0;
  int32_t merged = 0;
};

// Open addressing over pairs of ids.
class MergeTable {
 public:
  struct Entry {
    uint64_t pair = kEmpty;
    uint32_t rank = 0;
    int32_t merged = 0;
  };

  MergeTable() = default;
  // Ranks are positions in `merges`; of a pair named twice the later rank counts.
  explicit MergeTable(std::span<const Merge> merges);

  const Entry* find(int32_t left, int32_t right) const;

 private:
  static constexpr uint64_t kEmpty = UINT64_MAX;
  size_t slot_of(uint64_t pair) const { return (pair * 0x9E3779B97F4A7C15ull) >> shift_; }

  std::vector<Entry> entries_;
  int shift_ = 63;
};

class BytePairEncoder {
 public:
  struct Options {
    // Ids of the 256 byte tokens, -1 where the vocabulary lacks one.
    std::array<int32_t, 256> bytes{};
    std::optional<int32_t> unknown;  // stands for bytes that have no token
    bool fuse_unknown = false;       // one token for a run of them
  };

  BytePairEncoder() = default;
  BytePairEncoder(const Options& options, std::span<const Merge> merges);

  // Appends the tokens of a word of at most kMaxWord bytes. Linear in memory, O(n log n) in time. Throws
  // Error{kModel} where a byte has no token and there is no unknown token: the text would be lost.
  void encode(std::string_view word, std::vector<WordToken>& out) const;

  static constexpr size_t kMaxWord = INT32_MAX;

 private:
  void start(std::string_view word, std::vector<WordToken>& out) const;
  void merge_short(std::vector<WordToken>& out, size_t begin) const;
  void merge_long(std::vector<WordToken>& out, size_t begin) const;

  Options options_;
  MergeTable merges_;
};

}  // namespace precis

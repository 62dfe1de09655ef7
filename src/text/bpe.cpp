// Byte-pair encoding of one word: short words by scanning, long ones with a heap.
#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <functional>
#include <queue>

#include "base/error.h"

namespace precis {
namespace {

// Where scanning for the lowest rank stops being faster than a heap.
constexpr size_t kShortWord = 48;
constexpr uint32_t kNoMerge = UINT32_MAX;

uint64_t pack(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(std::span<const Merge> merges) {
  const size_t capacity = std::bit_ceil(std::max<size_t>(2, merges.size() * 2));
  shift_ = 64 - std::countr_zero(capacity);
  entries_.resize(capacity);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t pair = pack(merges[rank].left, merges[rank].right);
    size_t slot = slot_of(pair);
    while (entries_[slot].pair != kEmpty && entries_[slot].pair != pair) slot = (slot + 1) & (capacity - 1);
    entries_[slot] = {pair, static_cast<uint32_t>(rank), merges[rank].merged};
  }
}

const MergeTable::Entry* MergeTable::find(int32_t left, int32_t right) const {
  const uint64_t pair = pack(left, right);
  for (size_t slot = slot_of(pair);; slot = (slot + 1) & (entries_.size() - 1)) {
    if (entries_[slot].pair == pair) return &entries_[slot];
    if (entries_[slot].pair == kEmpty) return nullptr;
  }
}

BytePairEncoder::BytePairEncoder(const Options& options, std::span<const Merge> merges)
    : options_(options), merges_(merges) {}

void BytePairEncoder::encode(std::string_view word, std::vector<WordToken>& out) const {
  if (word.size() > kMaxWord) {
    throw Error(ErrorKind::kData, {.what = "a stretch of text without a break is too long to tokenize",
                                   .expected = "less than 2 GiB",
                                   .found = std::to_string(word.size()) + " bytes"});
  }
  const size_t begin = out.size();
  start(word, out);
  if (out.size() - begin <= kShortWord) {
    merge_short(out, begin);
  } else {
    merge_long(out, begin);
  }
}

void BytePairEncoder::start(std::string_view word, std::vector<WordToken>& out) const {
  bool after_unknown = false;
  for (const char byte : word) {
    const int32_t id = options_.bytes[static_cast<unsigned char>(byte)];
    if (id >= 0) {
      out.push_back({id, 1});
    } else if (!options_.unknown) {
      char text[8];
      std::snprintf(text, sizeof text, "0x%02X", static_cast<unsigned>(static_cast<unsigned char>(byte)));
      throw Error(ErrorKind::kModel,
                  {.what = "the tokenizer has no token for a byte of the text and no unknown token",
                   .found = std::string("byte ") + text,
                   .hint = "use a tokenizer trained with the whole byte alphabet"});
    } else if (after_unknown && options_.fuse_unknown) {
      ++out.back().bytes;
    } else {
      out.push_back({*options_.unknown, 1});
    }
    after_unknown = id < 0;
  }
}

void BytePairEncoder::merge_short(std::vector<WordToken>& out, size_t begin) const {
  WordToken* const tokens = out.data() + begin;
  size_t count = out.size() - begin;
  struct Candidate {
    uint32_t rank;
    int32_t merged;
  };
  Candidate candidates[kShortWord];  // candidates[i]: tokens i and i + 1
  const auto look_up = [&](size_t i) -> Candidate {
    const auto* entry = merges_.find(tokens[i].id, tokens[i + 1].id);
    return entry == nullptr ? Candidate{kNoMerge, 0} : Candidate{entry->rank, entry->merged};
  };
  for (size_t i = 0; i + 1 < count; ++i) candidates[i] = look_up(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (candidates[i].rank < candidates[best].rank) best = i;
    }
    if (candidates[best].rank == kNoMerge) break;
    tokens[best] = {candidates[best].merged, tokens[best].bytes + tokens[best + 1].bytes};
    --count;
    for (size_t i = best + 1; i < count; ++i) {
      tokens[i] = tokens[i + 1];
      candidates[i - 1] = candidates[i];
    }
    if (best > 0) candidates[best - 1] = look_up(best - 1);
    if (best + 1 < count) candidates[best] = look_up(best);
  }
  out.resize(begin + count);
}

void BytePairEncoder::merge_long(std::vector<WordToken>& out, size_t begin) const {
  const auto count = static_cast<int32_t>(out.size() - begin);
  WordToken* const tokens = out.data() + begin;  // bytes == 0: merged into a token to the left
  std::vector<int32_t> previous(count), next(count);
  for (int32_t i = 0; i < count; ++i) {
    previous[i] = i - 1;
    next[i] = i + 1;
  }
  const auto entry_at = [&](int32_t i) -> const MergeTable::Entry* {
    return next[i] < count ? merges_.find(tokens[i].id, tokens[next[i]].id) : nullptr;
  };
  // Rank above position: the smallest value is the lowest rank, leftmost first.
  const auto key = [](uint32_t rank, int32_t i) { return uint64_t{rank} << 32 | static_cast<uint32_t>(i); };
  std::vector<uint64_t> initial;
  initial.reserve(count);
  for (int32_t i = 0; i + 1 < count; ++i) {
    if (const auto* entry = entry_at(i)) initial.push_back(key(entry->rank, i));
  }
  std::priority_queue queue(std::greater<>(), std::move(initial));
  while (!queue.empty()) {
    const uint64_t top = queue.top();
    queue.pop();
    const auto i = static_cast<int32_t>(top & UINT32_MAX);
    if (tokens[i].bytes == 0) continue;
    const auto* entry = entry_at(i);
    if (entry == nullptr || entry->rank != top >> 32) continue;  // the pair has changed since
    const int32_t right = next[i];
    tokens[i] = {entry->merged, tokens[i].bytes + tokens[right].bytes};
    tokens[right].bytes = 0;
    next[i] = next[right];
    if (next[i] < count) previous[next[i]] = i;
    if (previous[i] >= 0) {
      if (const auto* left = entry_at(previous[i])) queue.push(key(left->rank, previous[i]));
    }
    if (const auto* after = entry_at(i)) queue.push(key(after->rank, i));
  }
  const auto alive = std::remove_if(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
                                    [](const WordToken& token) { return token.bytes == 0; });
  out.erase(alive, out.end());
}

}  // namespace precis

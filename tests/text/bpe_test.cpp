// Byte-pair encoding: the order of merges, and scanning against the heap.
#include "text/bpe.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "base/random.h"

namespace precis {
namespace {

// Bytes are their own ids; merged ids follow from 256.
BytePairEncoder::Options all_bytes() {
  BytePairEncoder::Options options;
  for (int byte = 0; byte < 256; ++byte) options.bytes[byte] = byte;
  return options;
}

std::vector<int32_t> ids_of(const BytePairEncoder& encoder, std::string_view word) {
  std::vector<WordToken> tokens;
  encoder.encode(word, tokens);
  std::vector<int32_t> ids;
  size_t bytes = 0;
  for (const WordToken& token : tokens) {
    ids.push_back(token.id);
    bytes += token.bytes;
  }
  EXPECT_EQ(bytes, word.size());
  return ids;
}

// The definition, word by word: find the lowest rank, merge its leftmost place, start again.
std::vector<int32_t> plain_bpe(const std::vector<Merge>& merges, std::string_view word) {
  std::vector<int32_t> ids;
  for (const char byte : word) ids.push_back(static_cast<unsigned char>(byte));
  while (true) {
    size_t best_rank = merges.size(), best_place = 0;
    for (size_t place = 0; place + 1 < ids.size(); ++place) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].left == ids[place] && merges[rank].right == ids[place + 1]) {
          best_rank = rank;
          best_place = place;
        }
      }
    }
    if (best_rank == merges.size()) return ids;
    ids[best_place] = merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_place) + 1);
  }
}

TEST(Bpe, MergesTheLowestRankFirstAndTheLeftmostOfEquals) {
  const std::vector<Merge> merges = {{'b', 'c', 256}, {'a', 'b', 257}, {'a', 'a', 258}};
  const BytePairEncoder encoder(all_bytes(), merges);
  EXPECT_EQ(ids_of(encoder, "abc"), (std::vector<int32_t>{'a', 256}));
  EXPECT_EQ(ids_of(encoder, "aaa"), (std::vector<int32_t>{258, 'a'}));
  EXPECT_EQ(ids_of(encoder, ""), std::vector<int32_t>{});
}

TEST(Bpe, AgreesWithTheDefinitionAtEveryLength) {
  // Random merges over three letters and what comes of them, also with ranks in no sensible order.
  CounterRandom random{.key = 7};
  for (int round = 0; round < 20; ++round) {
    std::vector<Merge> merges;
    std::vector<int32_t> known = {'a', 'b', 'c'};
    for (int32_t merged = 256; merged < 290; ++merged) {
      merges.push_back({known[random.below(known.size())], known[random.below(known.size())], merged});
      known.push_back(merged);
    }
    std::vector<Merge> unique;  // a repeated pair would take its later rank
    for (const Merge& merge : merges) {
      bool repeated = false;
      for (const Merge& other : unique) repeated |= other.left == merge.left && other.right == merge.right;
      if (!repeated) unique.push_back(merge);
    }
    for (size_t i = unique.size(); i > 1; --i) std::swap(unique[i - 1], unique[random.below(i)]);
    const BytePairEncoder encoder(all_bytes(), unique);
    for (const size_t length : {1, 2, 3, 10, 47, 48, 49, 50, 200, 500}) {
      std::string word;
      for (size_t i = 0; i < length; ++i) word += static_cast<char>('a' + random.below(3));
      EXPECT_EQ(ids_of(encoder, word), plain_bpe(unique, word)) << word;
    }
  }
}

TEST(Bpe, OfAPairNamedTwiceTheLaterRankCounts) {
  const std::vector<Merge> merges = {{'a', 'b', 256}, {'b', 'c', 257}, {'a', 'b', 256}};
  EXPECT_EQ(ids_of(BytePairEncoder(all_bytes(), merges), "abc"), (std::vector<int32_t>{'a', 257}));
}

TEST(Bpe, BytesWithoutATokenAreUnknownOrAnError) {
  BytePairEncoder::Options options = all_bytes();
  options.bytes['x'] = -1;
  EXPECT_THROW(ids_of(BytePairEncoder(options, {}), "axb"), Error);
  options.unknown = 300;
  EXPECT_EQ(ids_of(BytePairEncoder(options, {}), "axxb"), (std::vector<int32_t>{'a', 300, 300, 'b'}));
  options.fuse_unknown = true;
  EXPECT_EQ(ids_of(BytePairEncoder(options, {}), "axxbx"), (std::vector<int32_t>{'a', 300, 'b', 300}));
}

// A quadratic algorithm would need hours for one word of 10 MB.
TEST(Bpe, OneWordOfTenMegabytesTakesSeconds) {
  const std::vector<Merge> merges = {{'a', 'a', 256}, {256, 256, 257}, {257, 257, 258}};
  const std::vector<int32_t> ids = ids_of(BytePairEncoder(all_bytes(), merges), std::string(10'000'003, 'a'));
  ASSERT_EQ(ids.size(), 1'250'002u);
  EXPECT_EQ(ids.front(), 258);
  EXPECT_EQ(ids[ids.size() - 2], 256);
  EXPECT_EQ(ids.back(), 'a');
}

}  // namespace
}  // namespace precis

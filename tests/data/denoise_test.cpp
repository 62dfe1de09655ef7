// BART's noise: how much is masked, in spans of which lengths, and that nothing is lost or out of order.
#include "data/denoise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

namespace precis {
namespace {

constexpr int32_t kMask = -1;

std::vector<int32_t> counting(int32_t count) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

std::vector<int32_t> one_sentence(int32_t count) { return std::vector<int32_t>(count > 0 ? 1 : 0, 0); }

DenoiseOptions only_masks(double ratio = 0.3, double lambda = 3.0) {
  return {.mask_ratio = ratio, .poisson_lambda = lambda, .permute_sentences = 0.0, .mask_id = kMask};
}

DenoiseOptions only_sentences(double share) {
  return {.mask_ratio = 0.0, .poisson_lambda = 3.0, .permute_sentences = share, .mask_id = kMask};
}

TEST(Denoise, SpanLengthsArePoissonDistributed) {
  // 300,000 tokens in some 100,000 spans: the cut one and the bound on empty ones don't show. Chi-squared
  // over the lengths 0 to 10 and longer, 11 degrees of freedom: 31.3 is passed once in a thousand seeds.
  for (const double lambda : {1.0, 3.0, 3.5}) {
    CounterRandom random{5};
    const std::vector<int64_t> spans = draw_spans(300'000, lambda, random);
    EXPECT_EQ(std::accumulate(spans.begin(), spans.end(), int64_t{0}), 300'000);
    std::map<int64_t, double> counts;
    for (const int64_t length : spans) counts[std::min<int64_t>(length, 11)] += 1;
    double chi_squared = 0.0, rest = 1.0, probability = std::exp(-lambda);
    for (int64_t length = 0; length <= 11; ++length) {
      const double expected = static_cast<double>(spans.size()) * (length == 11 ? rest : probability);
      chi_squared += std::pow(counts[length] - expected, 2) / expected;
      rest -= probability;
      probability *= lambda / static_cast<double>(length + 1);
    }
    EXPECT_LT(chi_squared, 31.3) << lambda;
  }
}

TEST(Denoise, TheShareOfMaskedTokensIsExact) {
  for (const int32_t count : {0, 1, 2, 7, 126, 1022}) {
    for (const double ratio : {0.0, 0.15, 0.3, 1.0}) {
      for (uint64_t key = 0; key < 50; ++key) {
        const std::vector<int32_t> noised =
            add_noise(counting(count), one_sentence(count), only_masks(ratio), key);
        const int64_t kept =
            std::count_if(noised.begin(), noised.end(), [](int32_t id) { return id != kMask; });
        ASSERT_EQ(count - kept, std::llround(ratio * count));
      }
    }
  }
}

TEST(Denoise, KeptTokensStandInOrderAndNoTextGrows) {
  int64_t inserted = 0;
  for (const double lambda : {0.1, 1.0, 3.0}) {
    for (uint64_t key = 0; key < 300; ++key) {
      const std::vector<int32_t> noised =
          add_noise(counting(60), one_sentence(60), only_masks(0.3, lambda), key);
      EXPECT_LE(noised.size(), 60u);
      int32_t last = -1;
      bool mask_before = false;
      for (const int32_t id : noised) {
        if (id != kMask) {
          ASSERT_GT(id, last);
          // Tokens are missing only where a mask stands; a mask where none is missing was put in.
          if (!mask_before) ASSERT_EQ(id, last + 1);
          if (mask_before && id == last + 1) ++inserted;
          last = id;
        }
        mask_before = id == kMask;
      }
      if (!mask_before) EXPECT_EQ(last, 59);
    }
  }
  EXPECT_GT(inserted, 0);
}

TEST(Denoise, EverySpanIsOneMaskAndStandsAnywhere) {
  // With one span of one token in ten, each place is as likely: 20,000 draws, 2,000 each, give or take 42
  // (one sigma): five sigmas.
  std::map<size_t, int> places;
  for (uint64_t key = 0; key < 20'000; ++key) {
    const std::vector<int32_t> noised = add_noise(counting(10), one_sentence(10), only_masks(0.1, 100), key);
    ASSERT_EQ(noised.size(), 10u);
    ++places[static_cast<size_t>(std::find(noised.begin(), noised.end(), kMask) - noised.begin())];
  }
  EXPECT_EQ(places.size(), 10u);
  for (const auto& [place, count] : places) EXPECT_NEAR(count, 2000, 212) << place;
}

TEST(Denoise, WholeSentencesChangePlaces) {
  const std::vector<int32_t> ids = counting(30), begins = {0, 4, 5, 12, 20, 29};
  std::set<std::vector<int32_t>> orders;
  for (uint64_t key = 0; key < 200; ++key) {
    std::vector<int32_t> noised = add_noise(ids, begins, only_sentences(1.0), key);
    orders.insert(noised);
    // Where a sentence's first token stands, the rest of it follows.
    for (size_t s = 0; s < begins.size(); ++s) {
      const int32_t end = s + 1 < begins.size() ? begins[s + 1] : 30;
      const auto at = std::find(noised.begin(), noised.end(), begins[s]);
      for (int32_t i = begins[s]; i < end; ++i) ASSERT_EQ(*(at + (i - begins[s])), i);
    }
    std::sort(noised.begin(), noised.end());
    ASSERT_EQ(noised, ids);
  }
  EXPECT_GT(orders.size(), 150u);  // of 720
}

TEST(Denoise, EveryOrderOfSentencesIsAsLikely) {
  // 3 sentences have 6 orders; 12,000 draws, 2,000 each, give or take 41 (one sigma): five sigmas.
  const std::vector<int32_t> ids = counting(3), begins = {0, 1, 2};
  std::map<std::vector<int32_t>, int> counts;
  for (uint64_t key = 0; key < 12'000; ++key) ++counts[add_noise(ids, begins, only_sentences(1.0), key)];
  EXPECT_EQ(counts.size(), 6u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 2000, 205);
}

TEST(Denoise, AShareOfTheSentencesMoves) {
  const std::vector<int32_t> ids = counting(10), begins = counting(10);
  for (uint64_t key = 0; key < 200; ++key) {
    const std::vector<int32_t> noised = add_noise(ids, begins, only_sentences(0.4), key);
    int moved = 0;
    for (size_t i = 0; i < ids.size(); ++i) moved += noised[i] != ids[i];
    EXPECT_LE(moved, 4);
  }
  EXPECT_EQ(add_noise(ids, begins, only_sentences(0.0), 3), ids);
}

TEST(Denoise, NoiseIsAFunctionOfItsKey) {
  const std::vector<int32_t> ids = counting(100), begins = {0, 30, 60};
  const DenoiseOptions options{.mask_id = kMask};
  std::set<std::vector<int32_t>> all;
  for (uint64_t key = 0; key < 100; ++key) {
    EXPECT_EQ(add_noise(ids, begins, options, key), add_noise(ids, begins, options, key));
    all.insert(add_noise(ids, begins, options, key));
  }
  EXPECT_EQ(all.size(), 100u);
}

}  // namespace
}  // namespace precis

// Longest common subsequences: the bit-parallel rows give what the plain table gives, across word borders.
#include "evaluate/lcs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"

namespace precis::evaluate {
namespace {

using Ids = std::vector<int32_t>;

std::vector<std::vector<int64_t>> plain_table(const Ids& a, const Ids& b) {
  std::vector<std::vector<int64_t>> table(a.size() + 1, std::vector<int64_t>(b.size() + 1));
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      table[i][j] =
          a[i - 1] == b[j - 1] ? table[i - 1][j - 1] + 1 : std::max(table[i - 1][j], table[i][j - 1]);
    }
  }
  return table;
}

// As rouge-score's _backtrack_norec walks it.
std::vector<int64_t> plain_positions(const Ids& a, const Ids& b) {
  const auto table = plain_table(a, b);
  std::vector<int64_t> positions;
  size_t i = a.size(), j = b.size();
  while (i > 0 && j > 0) {
    if (a[i - 1] == b[j - 1]) {
      positions.insert(positions.begin(), static_cast<int64_t>(--i));
      --j;
    } else if (table[i][j - 1] > table[i - 1][j]) {
      --j;
    } else {
      --i;
    }
  }
  return positions;
}

Ids random_ids(CounterRandom& random, size_t length, uint64_t kinds) {
  Ids ids(length);
  for (int32_t& id : ids) id = static_cast<int32_t>(random.below(kinds));
  return ids;
}

TEST(Lcs, EqualsThePlainTable) {
  CounterRandom random{11};
  for (const size_t columns : {1, 5, 63, 64, 65, 127, 128, 129, 200}) {
    for (const uint64_t kinds : {2, 7, 60}) {
      const Ids reference = random_ids(random, 1 + random.below(150), kinds);
      const Ids candidate = random_ids(random, columns, kinds);
      EXPECT_EQ(lcs_length(reference, candidate), plain_table(reference, candidate).back().back())
          << columns << " columns, " << kinds << " kinds";
      EXPECT_EQ(lcs_positions(reference, candidate), plain_positions(reference, candidate))
          << columns << " columns, " << kinds << " kinds";
    }
  }
}

TEST(Lcs, LargeTablesAreWalkedByBlocks) {
  CounterRandom random{12};
  for (const uint64_t kinds : {2, 50, 4000}) {
    const Ids reference = random_ids(random, 3001, kinds), candidate = random_ids(random, 2990, kinds);
    EXPECT_EQ(lcs_length(reference, candidate), plain_table(reference, candidate).back().back())
        << kinds << " kinds";
    EXPECT_EQ(lcs_positions(reference, candidate), plain_positions(reference, candidate))
        << kinds << " kinds";
  }
}

TEST(Lcs, EmptySidesShareNothing) {
  const Ids some = {1, 2}, none;
  EXPECT_EQ(lcs_length(some, none), 0);
  EXPECT_EQ(lcs_length(none, some), 0);
  EXPECT_TRUE(lcs_positions(some, none).empty());
  EXPECT_TRUE(lcs_positions(none, some).empty());
  EXPECT_EQ(lcs_length(Ids{3, 4}, some), 0);
}

}  // namespace
}  // namespace precis::evaluate

// Bit-parallel longest common subsequences.
#include "evaluate/lcs.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace precis::evaluate {

namespace {

constexpr int64_t kWordBits = 64;
// Tables up to so many words are held whole.
constexpr int64_t kSmallTable = 1 << 17;
// Rows between two looks at the stop token.
constexpr int64_t kRowsBetweenStops = 1024;

using Bits = std::vector<uint64_t>;

// Rows of the table as bits: bit j of row i is clear where table[i][j + 1] is above table[i][j].
class Rows {
 public:
  explicit Rows(Tokens candidate) : row_((candidate.size() + kWordBits - 1) / kWordBits, ~uint64_t{0}) {
    places_.reserve(candidate.size());
    for (size_t j = 0; j < candidate.size(); ++j) {
      places_.emplace_back(candidate[j], static_cast<int32_t>(j));
    }
    std::sort(places_.begin(), places_.end());
  }

  // The next row, for the next token of the reference: row + matches as one long sum, joined with the row. A
  // word without a match changes by a carry alone.
  void advance(int32_t token) {
    auto place = std::lower_bound(places_.begin(), places_.end(), std::pair(token, int32_t{0}));
    uint64_t carry = 0;
    size_t w = 0;
    while (place != places_.end() && place->first == token) {
      const size_t word = static_cast<size_t>(place->second / kWordBits);
      carry = carry_on(carry, w, word);
      uint64_t mask = 0;
      for (; place != places_.end() && place->first == token &&
             place->second / kWordBits == static_cast<int64_t>(word);
           ++place) {
        mask |= uint64_t{1} << (place->second % kWordBits);
      }
      const uint64_t matched = row_[word] & mask;
      const uint64_t partial = row_[word] + matched;
      const uint64_t sum = partial + carry;
      carry = static_cast<uint64_t>(partial < matched) | static_cast<uint64_t>(sum < partial);
      row_[word] = sum | (row_[word] & ~matched);
      w = word + 1;
    }
    carry_on(carry, w, row_.size());
  }

  const Bits& row() const { return row_; }
  // Row 0 is all ones.
  void set_row(const uint64_t* bits) { std::copy_n(bits, row_.size(), row_.begin()); }

 private:
  // The carry into word `end` of one into word `begin`.
  uint64_t carry_on(uint64_t carry, size_t begin, size_t end) {
    for (size_t w = begin; carry != 0 && w < end; ++w) {
      const uint64_t sum = row_[w] + 1;
      carry = static_cast<uint64_t>(sum == 0);
      row_[w] |= sum;
    }
    return carry;
  }

  Bits row_;
  std::vector<std::pair<int32_t, int32_t>> places_;  // token, column
};

// table[i][columns]: the clear bits below `columns`.
int64_t clear_bits(const uint64_t* row, int64_t columns) {
  int64_t count = 0;
  const int64_t whole = columns / kWordBits, rest = columns % kWordBits;
  for (int64_t w = 0; w < whole; ++w) count += std::popcount(~row[w]);
  if (rest > 0) count += std::popcount(~row[whole] & ((uint64_t{1} << rest) - 1));
  return count;
}

bool is_clear(const uint64_t* row, int64_t column) {
  return (row[column / kWordBits] >> (column % kWordBits) & 1) == 0;
}

}  // namespace

int64_t lcs_length(Tokens reference, Tokens candidate, const StopToken* stop) {
  Rows rows(candidate);
  for (size_t i = 0; i < reference.size(); ++i) {
    if (i % kRowsBetweenStops == 0) throw_if_stopped(stop);
    rows.advance(reference[i]);
  }
  return clear_bits(rows.row().data(), static_cast<int64_t>(candidate.size()));
}

std::vector<int64_t> lcs_positions(Tokens reference, Tokens candidate, const StopToken* stop) {
  std::vector<int64_t> positions;
  if (reference.empty() || candidate.empty()) return positions;
  Rows rows(candidate);
  const int64_t height = static_cast<int64_t>(reference.size()),
                words = static_cast<int64_t>(rows.row().size());
  // The walk back needs all rows. Of a large table the first row of each block is kept, and the block made
  // anew.
  const int64_t block = height * words <= kSmallTable
                            ? height
                            : static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(height))));
  Bits firsts;
  for (int64_t first = 0;; first += block) {
    throw_if_stopped(stop);
    firsts.insert(firsts.end(), rows.row().begin(), rows.row().end());
    if (first + block >= height) break;
    for (int64_t r = first; r < first + block; ++r) rows.advance(reference[r]);
  }

  Bits table(static_cast<size_t>((block + 1) * words));
  int64_t i = height, j = static_cast<int64_t>(candidate.size());
  for (int64_t first = (height - 1) / block * block; first >= 0 && j > 0; first -= block) {
    throw_if_stopped(stop);
    rows.set_row(&firsts[first / block * words]);
    const int64_t last = std::min(first + block, height);
    std::copy_n(rows.row().data(), words, table.data());
    for (int64_t r = first; r < last; ++r) {
      rows.advance(reference[r]);
      std::copy_n(rows.row().data(), words, &table[(r - first + 1) * words]);
    }
    int64_t above = clear_bits(&table[(i - 1 - first) * words], j);  // table[i - 1][j]
    int64_t here = clear_bits(&table[(i - first) * words], j);       // table[i][j]
    while (i > first && j > 0) {
      const uint64_t* const row = &table[(i - first) * words];
      const uint64_t* const row_above = row - words;
      const bool match = reference[i - 1] == candidate[j - 1];
      const int64_t left = here - static_cast<int64_t>(is_clear(row, j - 1));
      if (!match && left > above) {
        above -= static_cast<int64_t>(is_clear(row_above, j - 1));
        here = left;
        --j;
        continue;
      }
      if (match) {
        positions.push_back(i - 1);
        --j;
        above -= static_cast<int64_t>(is_clear(row_above, j));
      }
      --i;
      here = above;
      if (i > first) above = clear_bits(row_above - words, j);
    }
  }
  std::reverse(positions.begin(), positions.end());
  return positions;
}

}  // namespace precis::evaluate

// Bit-parallel longest common subsequences.
#include "evaluate/lcs.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

namespace precis::evaluate {

namespace {

constexpr int64_t kWordBits = 64;

// Rows of the table as bits: bit j of row i is clear where table[i + 1][j + 1] is above table[i + 1][j].
class Rows {
 public:
  explicit Rows(Tokens candidate)
      : columns_(static_cast<int64_t>(candidate.size())),
        words_((columns_ + kWordBits - 1) / kWordBits),
        row_(words_, ~uint64_t{0}) {
    for (int64_t j = 0; j < columns_; ++j) {
      std::vector<uint64_t>& mask = matches_[candidate[j]];
      mask.resize(words_);
      mask[j / kWordBits] |= uint64_t{1} << (j % kWordBits);
    }
  }

  // The next row, for the next token of the reference.
  const std::vector<uint64_t>& advance(int32_t token) {
    const auto found = matches_.find(token);
    if (found == matches_.end()) return row_;
    uint64_t carry = 0;
    for (int64_t w = 0; w < words_; ++w) {
      const uint64_t matched = row_[w] & found->second[w];
      const uint64_t partial = row_[w] + matched;
      const uint64_t sum = partial + carry;
      carry = static_cast<uint64_t>(partial < matched) | static_cast<uint64_t>(sum < partial);
      row_[w] = sum | (row_[w] & ~matched);
    }
    return row_;
  }

  int64_t words() const { return words_; }

 private:
  int64_t columns_;
  int64_t words_;
  std::vector<uint64_t> row_;
  std::unordered_map<int32_t, std::vector<uint64_t>> matches_;
};

// table[i][columns]: the clear bits below `columns`.
int64_t clear_bits(const uint64_t* row, int64_t columns) {
  int64_t count = 0;
  const int64_t whole = columns / kWordBits, rest = columns % kWordBits;
  for (int64_t w = 0; w < whole; ++w) count += std::popcount(~row[w]);
  if (rest > 0) count += std::popcount(~row[whole] & ((uint64_t{1} << rest) - 1));
  return count;
}

}  // namespace

int64_t lcs_length(Tokens reference, Tokens candidate) {
  if (reference.empty() || candidate.empty()) return 0;
  Rows rows(candidate);
  const std::vector<uint64_t>* last = nullptr;
  for (const int32_t token : reference) last = &rows.advance(token);
  return clear_bits(last->data(), static_cast<int64_t>(candidate.size()));
}

std::vector<int64_t> lcs_positions(Tokens reference, Tokens candidate) {
  std::vector<int64_t> positions;
  if (reference.empty() || candidate.empty()) return positions;
  Rows rows(candidate);
  // Row 0 of the table is all zeros: every bit set.
  std::vector<uint64_t> table(rows.words(), ~uint64_t{0});
  table.reserve(rows.words() * (reference.size() + 1));
  for (const int32_t token : reference) {
    const std::vector<uint64_t>& row = rows.advance(token);
    table.insert(table.end(), row.begin(), row.end());
  }
  int64_t i = static_cast<int64_t>(reference.size()), j = static_cast<int64_t>(candidate.size());
  const auto value = [&](int64_t row, int64_t column) {
    return clear_bits(&table[row * rows.words()], column);
  };
  while (i > 0 && j > 0) {
    if (reference[i - 1] == candidate[j - 1]) {
      positions.push_back(--i);
      --j;
    } else if (value(i, j - 1) > value(i - 1, j)) {
      --j;
    } else {
      --i;
    }
  }
  std::reverse(positions.begin(), positions.end());
  return positions;
}

}  // namespace precis::evaluate

// Longest common subsequences of token ids, 64 columns at a time (Crochemore et al. 2001; Hyyro 2004).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace precis::evaluate {

using Tokens = std::span<const int32_t>;

int64_t lcs_length(Tokens reference, Tokens candidate);

// The positions in `reference` of one longest common subsequence, ascending: the one that walking the table
// back from its end finds when it takes matches first and goes left only where that is strictly better.
std::vector<int64_t> lcs_positions(Tokens reference, Tokens candidate);

}  // namespace precis::evaluate

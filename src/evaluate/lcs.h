// Longest common subsequences of token ids, 64 columns at a time (Crochemore et al. 2001; Hyyro 2004).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/stop.h"

namespace precis::evaluate {

using Tokens = std::span<const int32_t>;

// Memory: linear in both lengths. A requested stop is an Error of its reason.
int64_t lcs_length(Tokens reference, Tokens candidate, const StopToken* stop = nullptr);

// The positions in `reference` of one longest common subsequence, ascending: the one that walking the table
// back from its end finds when it takes matches first and goes left only where that is strictly better.
// Memory: that of the square root of the table's rows, as bits. Stops as lcs_length() does.
std::vector<int64_t> lcs_positions(Tokens reference, Tokens candidate, const StopToken* stop = nullptr);

}  // namespace precis::evaluate

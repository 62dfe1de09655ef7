// "Did you mean": the nearest of a list of names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace precis {

// The candidate with the smallest edit distance to `name`, where that is at most a third of
// the name's length (at least 1, so that one slip is always mended); empty where none is near.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace precis

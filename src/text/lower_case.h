// Lower case as Python's str.lower() has it: Unicode's full mapping, the final sigma included.
#pragma once

#include <string>
#include <string_view>

namespace precis {

// `text` is valid UTF-8.
std::string lower_case(std::string_view text);

}  // namespace precis

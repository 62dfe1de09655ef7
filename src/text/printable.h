// Text as a terminal's line shows it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace precis {

// The text as one line of a terminal can show it: what would move the cursor, end the line, change the
// direction of writing or do nothing visible, and ill-formed bytes, become \n, \r, \t, \xNN or \u{NNNN}.
std::string printable(std::string_view text);

// The longest beginning of `text`, valid UTF-8, that surely fits so many columns of a terminal: characters
// from U+1100 on, among which are the wide ones, count as two.
std::string_view fitting(std::string_view text, int64_t columns);

}  // namespace precis

// UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace precis {

// What stands at the start of a text: a well-formed character, or the longest ill-formed stretch that
// Unicode's "maximal subpart" rule replaces by one U+FFFD (as Python and the WHATWG decoder do).
struct Utf8Unit {
  int length = 0;  // 1 to 4 bytes
  bool valid = false;
};

// `text` must not be empty.
Utf8Unit next_utf8_unit(std::string_view text);

// Byte offset of the first ill-formed byte, or std::string_view::npos.
size_t find_invalid_utf8(std::string_view text);

// Puts U+FFFD in place of each ill-formed stretch and adds their number to `replaced`.
std::string replace_invalid_utf8(std::string_view text, int64_t& replaced);

// "byte 0xFF at byte offset 12": how errors name an ill-formed byte. `base` is added to the offset.
std::string describe_invalid_utf8(std::string_view text, size_t offset, int64_t base = 0);

}  // namespace precis

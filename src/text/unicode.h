// Character classes as the pinned `tokenizers` sees them (tables from tools/make_unicode_tables.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace precis {

// kOther is what is neither letter (\p{L}), number (\p{N}) nor white space (\s).
enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace };

CharClass char_class(char32_t code_point);
// \w: what may not touch an added token that matches single words only.
bool is_word_character(char32_t code_point);

// A character of a text that is known to be valid UTF-8.
struct CodePoint {
  char32_t value = 0;
  int length = 0;  // bytes
};

// The character that starts at `position`, which must be less than text.size().
inline CodePoint code_point_at(std::string_view text, size_t position) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[position + i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3Fu), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu), 4};
}

// The character that ends just before `position`, which must be above 0.
inline CodePoint code_point_before(std::string_view text, size_t position) {
  size_t begin = position - 1;
  while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return code_point_at(text, begin);
}

inline bool is_continuation_byte(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace precis

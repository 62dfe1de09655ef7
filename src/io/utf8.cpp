// Well-formed UTF-8, after table 3-7 of the Unicode Standard.
#include "io/utf8.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace precis {

namespace {

// The second byte's range depends on the first; later bytes are always 80..BF.
struct SecondByte {
  int length;
  unsigned char low;
  unsigned char high;
};

SecondByte second_byte(unsigned char first) {
  if (first >= 0xC2 && first <= 0xDF) return {2, 0x80, 0xBF};
  if (first == 0xE0) return {3, 0xA0, 0xBF};
  if (first == 0xED) return {3, 0x80, 0x9F};
  if (first >= 0xE1 && first <= 0xEF) return {3, 0x80, 0xBF};
  if (first == 0xF0) return {4, 0x90, 0xBF};
  if (first >= 0xF1 && first <= 0xF3) return {4, 0x80, 0xBF};
  if (first == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

Utf8Unit next_utf8_unit(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return {1, true};
  const SecondByte rule = second_byte(byte(0));
  if (rule.length == 0) return {1, false};
  if (text.size() < 2 || byte(1) < rule.low || byte(1) > rule.high) return {1, false};
  for (int i = 2; i < rule.length; ++i) {
    if (text.size() <= static_cast<size_t>(i) || byte(i) < 0x80 || byte(i) > 0xBF) return {i, false};
  }
  return {rule.length, true};
}

size_t find_invalid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    // Most text is ASCII: eight bytes at a time.
    uint64_t word;
    while (i + sizeof word <= text.size()) {
      std::memcpy(&word, text.data() + i, sizeof word);
      if ((word & 0x8080808080808080ull) != 0) break;
      i += sizeof word;
    }
    if (i == text.size()) break;
    const Utf8Unit unit = next_utf8_unit(text.substr(i));
    if (!unit.valid) return i;
    i += static_cast<size_t>(unit.length);
  }
  return std::string_view::npos;
}

std::string replace_invalid_utf8(std::string_view text, int64_t& replaced) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t valid = std::min(find_invalid_utf8(text), text.size());
    result.append(text.substr(0, valid));
    text.remove_prefix(valid);
    if (text.empty()) break;
    result.append(kReplacement);
    ++replaced;
    text.remove_prefix(static_cast<size_t>(next_utf8_unit(text).length));
  }
  return result;
}

std::string describe_invalid_utf8(std::string_view text, size_t offset, int64_t base) {
  char hex[8];
  std::snprintf(hex, sizeof hex, "0x%02X", static_cast<unsigned>(static_cast<unsigned char>(text[offset])));
  return std::string("byte ") + hex + " at byte offset " +
         std::to_string(base + static_cast<int64_t>(offset));
}

}  // namespace precis

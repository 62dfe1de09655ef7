// The GPT-2 word pattern as a scanner; each character is looked at no more than twice.
#include "text/split.h"

#include <array>

#include "text/unicode.h"

namespace precis {
namespace {

constexpr std::array<CharClass, 128> kAsciiClasses = [] {
  std::array<CharClass, 128> classes{};
  for (int c = 0; c < 128; ++c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) classes[c] = CharClass::kLetter;
    if (c >= '0' && c <= '9') classes[c] = CharClass::kNumber;
    if ((c >= 9 && c <= 13) || c == ' ') classes[c] = CharClass::kSpace;
  }
  return classes;
}();

struct Character {
  CharClass type;
  int length;
};

inline Character character_at(std::string_view text, size_t position) {
  const auto byte = static_cast<unsigned char>(text[position]);
  if (byte < 0x80) return {kAsciiClasses[byte], 1};
  const CodePoint code = code_point_at(text, position);
  return {char_class(code.value), code.length};
}

// Bytes of the contraction at an apostrophe, or 0.
size_t contraction_length(std::string_view text, size_t apostrophe) {
  const std::string_view rest = text.substr(apostrophe + 1, 2);
  if (rest.empty()) return 0;
  if (rest[0] == 's' || rest[0] == 't' || rest[0] == 'm' || rest[0] == 'd') return 2;
  if (rest == "re" || rest == "ve" || rest == "ll") return 3;
  return 0;
}

}  // namespace

size_t word_end(std::string_view text, size_t begin) {
  size_t position = begin;
  Character first = character_at(text, position);
  if (text[position] == '\'') {
    if (const size_t length = contraction_length(text, position)) return begin + length;
  }
  if (text[position] == ' ' && position + 1 < text.size()) {
    const Character next = character_at(text, position + 1);
    if (next.type != CharClass::kSpace) {
      ++position;
      first = next;
    }
  }
  size_t last = position;  // start of the run's last character
  position += first.length;
  while (position < text.size()) {
    const Character next = character_at(text, position);
    if (next.type != first.type) break;
    last = position;
    position += next.length;
  }
  // Before a word, white space leaves its last character to be taken with or after it: \s+(?!\S).
  const bool leaves_one = first.type == CharClass::kSpace && position < text.size() && last > begin;
  return leaves_one ? last : position;
}

}  // namespace precis

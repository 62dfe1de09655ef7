// Character classes: ranges unfolded once into a table of one byte a code point.
#include "text/unicode.h"

#include <algorithm>
#include <memory>

namespace precis {
namespace {

struct CodePointRange {
  char32_t first;
  char32_t last;
};

#include "text/unicode_tables.inc"

constexpr char32_t kCodePoints = 0x110000;
constexpr uint8_t kClassMask = 3;
constexpr uint8_t kWordBit = 4;

class Table {
 public:
  Table() : entries_(new uint8_t[kCodePoints]()) {
    for (const auto& range : kLetters) add(range, static_cast<uint8_t>(CharClass::kLetter));
    for (const auto& range : kNumbers) add(range, static_cast<uint8_t>(CharClass::kNumber));
    for (const auto& range : kSpaces) add(range, static_cast<uint8_t>(CharClass::kSpace));
    for (const auto& range : kWordCharacters) add(range, kWordBit);
  }
  uint8_t operator[](char32_t code_point) const { return entries_[code_point]; }

 private:
  void add(const CodePointRange& range, uint8_t bits) {
    for (char32_t code = range.first; code <= range.last; ++code) entries_[code] |= bits;
  }
  std::unique_ptr<uint8_t[]> entries_;
};

const Table& table() {
  static const Table instance;
  return instance;
}

}  // namespace

CharClass char_class(char32_t code_point) { return static_cast<CharClass>(table()[code_point] & kClassMask); }

bool is_word_character(char32_t code_point) { return (table()[code_point] & kWordBit) != 0; }

}  // namespace precis

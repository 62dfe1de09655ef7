// Lower case by a table of ranges (tools/make_lower_case_table.py).
#include "text/lower_case.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "text/unicode.h"

namespace precis {

namespace {

struct LowerCaseRange {
  char32_t first;
  char32_t last;
  char32_t step;
  int32_t difference;
};

struct CaseRange {
  char32_t first;
  char32_t last;
};

#include "text/lower_case_table.inc"

constexpr char32_t kCapitalSigma = 0x3A3;
constexpr char32_t kSigma = 0x3C3;
constexpr char32_t kFinalSigma = 0x3C2;
constexpr char32_t kDottedI = 0x130;

// The last range that begins at or before `code`, or null.
template <typename Range, size_t kCount>
const Range* range_of(const Range (&ranges)[kCount], char32_t code) {
  const Range* after =
      std::upper_bound(std::begin(ranges), std::end(ranges), code,
                       [](char32_t value, const Range& range) { return value < range.first; });
  if (after == std::begin(ranges) || code > (after - 1)->last) return nullptr;
  return after - 1;
}

char32_t lower(char32_t code) {
  const LowerCaseRange* range = range_of(kLowerCase, code);
  if (range == nullptr || (code - range->first) % range->step != 0) return code;
  return static_cast<char32_t>(static_cast<int32_t>(code) + range->difference);
}

// A sigma is final where a cased letter stands before it and none behind it, ignorable ones looked through.
bool is_final_sigma(std::string_view text, size_t begin, size_t end) {
  bool before = false;
  for (size_t i = begin; i > 0 && !before;) {
    const CodePoint c = code_point_before(text, i);
    i -= c.length;
    if (range_of(kCaseIgnored, c.value) != nullptr) continue;
    if (range_of(kCased, c.value) == nullptr) return false;
    before = true;
  }
  for (size_t i = end; before && i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    i += c.length;
    if (range_of(kCaseIgnored, c.value) == nullptr) return range_of(kCased, c.value) == nullptr;
  }
  return before;
}

void append_utf8(char32_t code, std::string& out) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (c.value == kCapitalSigma) {
      append_utf8(is_final_sigma(text, i, i + c.length) ? kFinalSigma : kSigma, result);
    } else if (c.value == kDottedI) {
      result += "i\xCC\x87";  // i and U+0307, a dot above
    } else {
      append_utf8(lower(c.value), result);
    }
    i += c.length;
  }
  return result;
}

}  // namespace precis

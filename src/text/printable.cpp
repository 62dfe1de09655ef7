// Escapes and columns.
#include "text/printable.h"

#include <cstdio>

#include "io/utf8.h"
#include "text/unicode.h"

namespace precis {

namespace {

// Controls, ends of lines and paragraphs, marks of direction.
bool is_printable(char32_t code) {
  return code >= 0x20 && !(code >= 0x7F && code <= 0x9F) && code != 0x061C && code != 0x200B &&
         !(code >= 0x200E && code <= 0x200F) && !(code >= 0x2028 && code <= 0x202E) &&
         !(code >= 0x2066 && code <= 0x2069) && code != 0xFEFF;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  char escaped[16];
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8_unit(text);
    const std::string_view bytes = text.substr(0, static_cast<size_t>(unit.length));
    text.remove_prefix(bytes.size());
    const char32_t code = unit.valid ? code_point_at(bytes, 0).value : 0;
    if (unit.valid && is_printable(code)) {
      result.append(bytes);
    } else if (unit.valid && (code == '\n' || code == '\r' || code == '\t')) {
      result.append(code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t");
    } else if (unit.valid && code > 0x7F) {
      std::snprintf(escaped, sizeof escaped, "\\u{%04X}", static_cast<unsigned>(code));
      result.append(escaped);
    } else {
      for (const char byte : bytes) {
        std::snprintf(escaped, sizeof escaped, "\\x%02X",
                      static_cast<unsigned>(static_cast<unsigned char>(byte)));
        result.append(escaped);
      }
    }
  }
  return result;
}

std::string_view fitting(std::string_view text, int64_t columns) {
  size_t end = 0;
  while (end < text.size()) {
    const CodePoint character = code_point_at(text, end);
    columns -= character.value >= 0x1100 ? 2 : 1;
    if (columns < 0) break;
    end += static_cast<size_t>(character.length);
  }
  return text.substr(0, end);
}

}  // namespace precis

// Bytes as printable characters and back.
#include "text/byte_level.h"

#include <array>
#include <cstdint>

#include "text/unicode.h"

namespace precis {
namespace {

constexpr int kCharacters = 0x144;  // 188 printable bytes as themselves, 68 others from U+0100

constexpr bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

struct Alphabet {
  struct Utf8 {
    char bytes[2];
    uint8_t length;
  };
  std::array<Utf8, 256> character{};
  std::array<int16_t, kCharacters> byte{};

  constexpr Alphabet() {
    for (auto& entry : byte) entry = -1;
    int next = 0x100;
    for (int value = 0; value < 256; ++value) {
      const int code = is_printable(value) ? value : next++;
      byte[code] = static_cast<int16_t>(value);
      if (code < 0x80) {
        character[value] = {{static_cast<char>(code), 0}, 1};
      } else {
        character[value] = {{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))},
                            2};
      }
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

std::string_view byte_character(unsigned char byte) {
  const auto& entry = kAlphabet.character[byte];
  return {entry.bytes, entry.length};
}

void append_byte_characters(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) out += byte_character(static_cast<unsigned char>(byte));
}

std::string to_byte_characters(std::string_view bytes) {
  std::string out;
  append_byte_characters(bytes, out);
  return out;
}

void append_token_bytes(std::string_view token, std::string& out) {
  const size_t before = out.size();
  for (size_t position = 0; position < token.size();) {
    const CodePoint code = code_point_at(token, position);
    const int byte = code.value < kCharacters ? kAlphabet.byte[code.value] : -1;
    if (byte < 0) {
      out.resize(before);
      out += token;
      return;
    }
    out += static_cast<char>(byte);
    position += code.length;
  }
}

}  // namespace precis

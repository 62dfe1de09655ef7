// GPT-2's way to write any bytes as printable characters, in which byte-level vocabularies are stored.
#pragma once

#include <string>
#include <string_view>

namespace precis {

// Appends each byte as its character: printable Latin-1 is itself, the others follow from U+0100 on.
void append_byte_characters(std::string_view bytes, std::string& out);
std::string to_byte_characters(std::string_view bytes);

// Appends the bytes that a token stands for; a token with any other character stands for its own UTF-8.
void append_token_bytes(std::string_view token, std::string& out);

// The character of one byte, as UTF-8.
std::string_view byte_character(unsigned char byte);

}  // namespace precis

// The GPT-2 pattern  's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+  as a
// scanner.
#pragma once

#include <cstddef>
#include <string_view>

namespace precis {

// End of the word that starts at byte `begin` of valid UTF-8; `begin` < text.size(). Called again and again
// from where the last word ended, it covers the whole text in linear time.
size_t word_end(std::string_view text, size_t begin);

}  // namespace precis

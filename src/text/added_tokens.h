// Tokens beside the model's vocabulary (special ones above all), found in a text before words are cut.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace precis {

// Hugging Face's flags of an added token.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // not beside a word character
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = true;    // looked for after all those that are not
  bool special = false;      // decoding can skip it
};

// A stretch of the text: an added token with the white space it took, or plain text.
struct TextPart {
  size_t begin = 0;
  size_t end = 0;
  std::optional<int32_t> token;
};

class AddedTokens {
 public:
  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  // Parts are not empty. `text` is valid UTF-8.
  std::vector<TextPart> split(std::string_view text) const;

 private:
  // A trie over the bytes of the contents; the longest content at the leftmost place matches.
  struct Node {
    int32_t child = -1;  // first of the children, linked through `sibling`
    int32_t sibling = -1;
    int32_t token = -1;  // index into tokens_
    char byte = 0;
  };
  using Trie = std::vector<Node>;

  void add(Trie& trie, int32_t token) const;
  static int32_t child_of(const Trie& trie, int32_t node, char byte);
  void split_with(const Trie& trie, std::string_view text, const TextPart& part,
                  std::vector<TextPart>& out) const;

  std::vector<AddedToken> tokens_;
  Trie plain_;       // not normalized: found first
  Trie normalized_;  // found in what is left
};

}  // namespace precis

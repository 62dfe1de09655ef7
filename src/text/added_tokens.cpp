// Finding added tokens in a text as `tokenizers` does: those that are not normalized first, then the others
// in the stretches between.
#include "text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace precis {
namespace {

bool starts_with_word(std::string_view text) {
  return !text.empty() && is_word_character(code_point_at(text, 0).value);
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word_character(code_point_before(text, text.size()).value);
}

// Where the white space at the end of `text` begins, not before `limit`.
size_t trailing_space(std::string_view text, size_t limit) {
  size_t begin = text.size();
  while (begin > limit) {
    const CodePoint code = code_point_before(text, begin);
    if (char_class(code.value) != CharClass::kSpace) break;
    begin -= code.length;
  }
  return begin;
}

size_t leading_space(std::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    const CodePoint code = code_point_at(text, end);
    if (char_class(code.value) != CharClass::kSpace) break;
    end += code.length;
  }
  return end;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), plain_(1), normalized_(1) {
  for (int32_t i = 0; i < static_cast<int32_t>(tokens_.size()); ++i) {
    add(tokens_[i].normalized ? normalized_ : plain_, i);
  }
}

void AddedTokens::add(Trie& trie, int32_t token) const {
  int32_t node = 0;
  for (const char byte : tokens_[token].content) {
    int32_t child = child_of(trie, node, byte);
    if (child < 0) {
      child = static_cast<int32_t>(trie.size());
      trie.push_back({.sibling = trie[node].child, .byte = byte});
      trie[node].child = child;
    }
    node = child;
  }
  trie[node].token = token;
}

int32_t AddedTokens::child_of(const Trie& trie, int32_t node, char byte) {
  int32_t child = trie[node].child;
  while (child >= 0 && trie[child].byte != byte) child = trie[child].sibling;
  return child;
}

std::vector<TextPart> AddedTokens::split(std::string_view text) const {
  std::vector<TextPart> parts;
  if (text.empty()) return parts;
  parts.push_back({0, text.size(), std::nullopt});
  for (const Trie* trie : {&plain_, &normalized_}) {
    if (trie->size() < 2) continue;
    std::vector<TextPart> finer;
    for (const TextPart& part : parts) {
      if (part.token) {
        finer.push_back(part);
      } else {
        split_with(*trie, text, part, finer);
      }
    }
    parts = std::move(finer);
  }
  return parts;
}

void AddedTokens::split_with(const Trie& trie, std::string_view whole, const TextPart& part,
                             std::vector<TextPart>& out) const {
  const std::string_view text = whole.substr(part.begin, part.end - part.begin);
  const auto append = [&](size_t begin, size_t end, std::optional<int32_t> token) {
    if (begin < end) out.push_back({part.begin + begin, part.begin + end, token});
  };
  bool first_bytes[256] = {};
  for (int32_t child = trie[0].child; child >= 0; child = trie[child].sibling) {
    first_bytes[static_cast<unsigned char>(trie[child].byte)] = true;
  }
  size_t done = 0;  // end of the last part
  size_t position = 0;
  while (position < text.size()) {
    int32_t found = -1;
    size_t match_end = position;
    if (first_bytes[static_cast<unsigned char>(text[position])]) {
      int32_t node = 0;
      for (size_t i = position; i < text.size(); ++i) {
        node = child_of(trie, node, text[i]);
        if (node < 0) break;
        if (trie[node].token >= 0) {
          found = trie[node].token;
          match_end = i + 1;
        }
      }
    }
    if (found < 0) {
      ++position;
      continue;
    }
    const AddedToken& token = tokens_[found];
    size_t begin = position;
    size_t end = match_end;
    position = match_end;
    if (token.single_word && (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end)))) {
      continue;
    }
    // A token before this one may have taken white space that belongs to this one too: a part may then
    // overlap the one before, as in `tokenizers`.
    if (token.lstrip) begin = std::max(trailing_space(text.substr(0, begin), std::min(done, begin)), done);
    if (token.rstrip) end += leading_space(text.substr(end));
    append(done, begin, std::nullopt);
    append(begin, end, token.id);
    done = end;
  }
  append(done, text.size(), std::nullopt);
}

}  // namespace precis

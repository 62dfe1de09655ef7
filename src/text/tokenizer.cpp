// Encoding and decoding with a loaded tokenizer.
#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "io/utf8.h"
#include "text/byte_level.h"
#include "text/split.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace precis {

std::unique_ptr<WordCache> WordCachePool::take() {
  {
    const std::scoped_lock lock(mutex_);
    if (!free_.empty()) {
      auto cache = std::move(free_.back());
      free_.pop_back();
      return cache;
    }
  }
  return std::make_unique<WordCache>();
}

void WordCachePool::give_back(std::unique_ptr<WordCache> cache) {
  const std::scoped_lock lock(mutex_);
  free_.push_back(std::move(cache));
}

namespace {

// Turns byte positions into code points by counting from the last position asked for.
class CodePointCounter {
 public:
  explicit CodePointCounter(std::string_view text) : text_(text) {}

  // The characters that the bytes [begin, end) touch.
  SourceSpan span(size_t begin, size_t end) {
    const int64_t before = starts_before(begin);
    const bool inside = begin < text_.size() && is_continuation_byte(text_[begin]);
    return {inside ? before - 1 : before, starts_before(end)};
  }

 private:
  // Characters that start before byte `position`.
  int64_t starts_before(size_t position) {
    for (; position_ < position; ++position_) count_ += !is_continuation_byte(text_[position_]);
    for (; position_ > position; --position_) count_ -= !is_continuation_byte(text_[position_ - 1]);
    return count_;
  }

  std::string_view text_;
  size_t position_ = 0;
  int64_t count_ = 0;
};

class Encoder {
 public:
  Encoder(const Tokenizer::Parts& parts, std::string_view text, bool offsets)
      : parts_(parts), counter_(text), offsets_(offsets), cache_(parts.caches.take()) {}
  ~Encoder() { parts_.caches.give_back(std::move(cache_)); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  void add_token(int32_t id, size_t begin, size_t end) {
    result_.ids.push_back(id);
    if (offsets_) result_.offsets.push_back(counter_.span(begin, end));
  }

  // Plain text that stands at byte `begin` of the source.
  void add_text(std::string_view text, size_t begin) {
    if (!parts_.add_prefix_space || text.starts_with(' ')) {
      add_words(text, begin, 0);
    } else {
      std::string prefixed(1, ' ');
      prefixed += text;
      add_words(prefixed, begin, 1);
    }
  }

  Encoding take() { return std::move(result_); }

 private:
  // The first `inserted` bytes of `text` are not in the source.
  void add_words(std::string_view text, size_t begin, size_t inserted) {
    const auto source = [&](size_t position) { return begin + position - std::min(position, inserted); };
    for (size_t position = 0; position < text.size();) {
      const size_t end = parts_.split_words ? word_end(text, position) : text.size();
      size_t token_begin = position;
      for (const WordToken& token : tokens_of(text.substr(position, end - position))) {
        add_token(token.id, source(token_begin), source(token_begin + token.bytes));
        token_begin += token.bytes;
      }
      position = end;
    }
  }

  std::span<const WordToken> tokens_of(std::string_view word) {
    if (word.size() > WordCache::kMaxWordBytes) {
      encode(word);
      return scratch_;
    }
    const uint64_t hash = WordCache::hash(word);
    if (const auto known = cache_->find(word, hash); !known.empty()) return known;
    encode(word);
    cache_->insert(word, hash, scratch_);
    return scratch_;
  }

  void encode(std::string_view word) {
    scratch_.clear();
    if (parts_.ignore_merges) {
      const auto whole = parts_.model_words.find(to_byte_characters(word));
      if (whole != parts_.model_words.end()) {
        scratch_.push_back({whole->second, static_cast<int32_t>(word.size())});
        return;
      }
    }
    parts_.encoder.encode(word, scratch_);
  }

  const Tokenizer::Parts& parts_;
  CodePointCounter counter_;
  bool offsets_;
  std::unique_ptr<WordCache> cache_;
  std::vector<WordToken> scratch_;
  Encoding result_;
};

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

Encoding Tokenizer::encode(std::string_view utf8, const EncodeOptions& options) const {
  if (const size_t bad = find_invalid_utf8(utf8); bad != std::string_view::npos) {
    throw Error(ErrorKind::kData,
                {.what = "the text is not valid UTF-8", .found = describe_invalid_utf8(utf8, bad)});
  }
  Encoder encoder(*parts_, utf8, options.offsets);
  if (options.special_as_text) {
    if (!utf8.empty()) encoder.add_text(utf8, 0);
    return encoder.take();
  }
  for (const TextPart& part : parts_->added.split(utf8)) {
    if (part.token) {
      encoder.add_token(*part.token, part.begin, part.end);
    } else {
      encoder.add_text(utf8.substr(part.begin, part.end - part.begin), part.begin);
    }
  }
  return encoder.take();
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    const auto token = parts_->tokens.find(id);
    if (token == parts_->tokens.end() || (skip_special && parts_->special.contains(id))) continue;
    append_token_bytes(token->second, bytes);
  }
  int64_t replaced = 0;
  return replace_invalid_utf8(bytes, replaced);
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const auto found = parts_->vocabulary.find(std::string(token));
  if (found == parts_->vocabulary.end()) return std::nullopt;
  return found->second;
}

const std::string& Tokenizer::id_to_token(int32_t id) const {
  const auto found = parts_->tokens.find(id);
  if (found == parts_->tokens.end()) {
    throw Error(ErrorKind::kModel, {.what = "an id names no token of the tokenizer",
                                    .expected = "below " + std::to_string(parts_->id_limit),
                                    .found = std::to_string(id)});
  }
  return found->second;
}

int32_t Tokenizer::size() const { return static_cast<int32_t>(parts_->tokens.size()); }
int32_t Tokenizer::id_limit() const { return parts_->id_limit; }
bool Tokenizer::is_special(int32_t id) const { return parts_->special.contains(id); }
std::optional<int32_t> Tokenizer::bos() const { return parts_->ids.bos; }
std::optional<int32_t> Tokenizer::eos() const { return parts_->ids.eos; }
std::optional<int32_t> Tokenizer::pad() const { return parts_->ids.pad; }
std::optional<int32_t> Tokenizer::unk() const { return parts_->ids.unk; }
std::optional<int32_t> Tokenizer::mask() const { return parts_->ids.mask; }
const std::vector<TokenizerFile>& Tokenizer::files() const { return parts_->files; }

}  // namespace precis

// Training by merging the most frequent pair again and again; counts are kept up to date merge by merge.
#include "text/bpe_trainer.h"

#include <algorithm>
#include <queue>
#include <unordered_set>

#include "base/error.h"
#include "io/utf8.h"
#include "text/byte_level.h"
#include "text/split.h"

namespace precis {
namespace {

constexpr const char* kLeadingTokens[] = {"<s>", "<pad>", "</s>", "<unk>"};
constexpr const char* kLastToken = "<mask>";

using Pair = uint64_t;  // left id above right id: ordered as ties are broken

Pair pack(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}
int32_t left_of(Pair pair) { return static_cast<int32_t>(pair >> 32); }
int32_t right_of(Pair pair) { return static_cast<int32_t>(pair & UINT32_MAX); }

struct Word {
  std::vector<int32_t> ids;
  int64_t count = 0;
};

struct PairState {
  int64_t count = 0;
  std::vector<uint32_t> words;  // that hold or held the pair; may repeat
};

struct Candidate {
  int64_t count = 0;
  Pair pair = 0;
  // The largest is the next to merge.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class Merger {
 public:
  explicit Merger(std::vector<Word> words) : words_(std::move(words)) {
    for (uint32_t w = 0; w < words_.size(); ++w) {
      const auto& ids = words_[w].ids;
      for (size_t i = 0; i + 1 < ids.size(); ++i) add(pack(ids[i], ids[i + 1]), w);
    }
    queue_changed();
  }

  // The pair to merge next; false where none is left.
  bool next(Pair& pair) {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const auto state = pairs_.find(top.pair);
      if (state == pairs_.end() || state->second.count <= 0) continue;
      if (state->second.count == top.count) {
        pair = top.pair;
        return true;
      }
      // Counts that fell are queued again only when their turn comes.
      if (state->second.count < top.count) queue_.push({state->second.count, top.pair});
    }
    return false;
  }

  void merge(Pair pair, int32_t merged) {
    const std::vector<uint32_t> touched = std::move(pairs_.at(pair).words);
    pairs_.erase(pair);
    for (const uint32_t word : touched) merge_in(word, pair, merged);
    queue_changed();
  }

 private:
  void add(Pair pair, uint32_t word) {
    PairState& state = pairs_[pair];
    state.count += words_[word].count;
    if (state.words.empty() || state.words.back() != word) state.words.push_back(word);
    changed_.insert(pair);
  }

  void remove(Pair pair, uint32_t word) {
    const auto state = pairs_.find(pair);
    if (state != pairs_.end()) state->second.count -= words_[word].count;
  }

  void merge_in(uint32_t word, Pair pair, int32_t merged) {
    auto& ids = words_[word].ids;
    const int32_t left = left_of(pair), right = right_of(pair);
    size_t out = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (i + 1 == ids.size() || ids[i] != left || ids[i + 1] != right) {
        ids[out++] = ids[i];
        continue;
      }
      if (out > 0) {
        remove(pack(ids[out - 1], left), word);
        add(pack(ids[out - 1], merged), word);
      }
      if (i + 2 < ids.size()) {
        remove(pack(right, ids[i + 2]), word);
        add(pack(merged, ids[i + 2]), word);
      }
      ids[out++] = merged;
      ++i;
    }
    ids.resize(out);
  }

  void queue_changed() {
    for (const Pair pair : changed_) {
      const auto state = pairs_.find(pair);
      if (state != pairs_.end() && state->second.count > 0) queue_.push({state->second.count, pair});
    }
    changed_.clear();
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, PairState> pairs_;
  std::unordered_set<Pair> changed_;  // pairs whose count rose
  std::priority_queue<Candidate> queue_;
};

}  // namespace

void BpeTrainer::add(std::string_view text) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos) {
    throw Error(ErrorKind::kData,
                {.what = "the text is not valid UTF-8", .found = describe_invalid_utf8(text, bad)});
  }
  std::string key;
  for (size_t position = 0; position < text.size();) {
    const size_t end = word_end(text, position);
    key.assign(text.substr(position, end - position));
    ++word_counts_[key];
    position = end;
  }
}

TrainedVocabulary BpeTrainer::train(int32_t vocabulary_size, const StopToken* stop) const {
  if (vocabulary_size < kSmallestVocabulary) {
    throw Error(ErrorKind::kUsage, {.what = "the vocabulary is too small",
                                    .expected = "at least " + std::to_string(kSmallestVocabulary) +
                                                ": four special tokens, 256 bytes and <mask>",
                                    .found = std::to_string(vocabulary_size)});
  }
  TrainedVocabulary result;
  for (const char* token : kLeadingTokens) result.tokens.emplace_back(token);
  std::vector<std::string> characters;
  for (int byte = 0; byte < 256; ++byte)
    characters.emplace_back(byte_character(static_cast<unsigned char>(byte)));
  // UTF-8 sorts as code points do.
  std::sort(characters.begin(), characters.end());
  result.tokens.insert(result.tokens.end(), characters.begin(), characters.end());
  std::unordered_map<std::string, int32_t> ids;
  for (size_t id = 0; id < result.tokens.size(); ++id)
    ids.emplace(result.tokens[id], static_cast<int32_t>(id));

  int32_t id_of_byte[256];
  for (int byte = 0; byte < 256; ++byte) {
    id_of_byte[byte] = ids.at(std::string(byte_character(static_cast<unsigned char>(byte))));
  }
  std::vector<Word> words;
  words.reserve(word_counts_.size());
  for (const auto& [text, count] : word_counts_) {
    Word word{.count = count};
    word.ids.reserve(text.size());
    for (const char byte : text) word.ids.push_back(id_of_byte[static_cast<unsigned char>(byte)]);
    words.push_back(std::move(word));
  }

  Merger merger(std::move(words));
  const size_t wanted = static_cast<size_t>(vocabulary_size) - 1;  // <mask> comes last
  std::unordered_set<Pair> merged_before;
  for (Pair pair = 0; result.tokens.size() < wanted && merger.next(pair);) {
    throw_if_stopped(stop);
    const std::string left = result.tokens[left_of(pair)], right = result.tokens[right_of(pair)];
    // Two ways may lead to one token, and a pair may come up again behind the second.
    const auto [token, fresh] = ids.emplace(left + right, static_cast<int32_t>(result.tokens.size()));
    if (fresh) result.tokens.push_back(token->first);
    if (merged_before.insert(pair).second) result.merges.emplace_back(left, right);
    merger.merge(pair, token->second);
  }
  result.tokens.emplace_back(kLastToken);
  return result;
}

}  // namespace precis

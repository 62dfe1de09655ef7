// From attention to passages.
#include "generate/sources.h"

#include <algorithm>
#include <limits>
#include <string_view>

namespace precis::generate {

namespace {

// A passage of running text without a sentence's end is cut here.
constexpr int64_t kLongestPassage = 64;

bool begins_with_space(std::string_view token) {
  return !token.empty() && (token[0] == ' ' || token[0] == '\n');
}

bool may_end_sentence(std::string_view token) {
  // Closing quotes and brackets belong to the sentence they follow.
  while (!token.empty() && std::string_view("\"')]").find(token.back()) != std::string_view::npos) {
    token.remove_suffix(1);
  }
  return !token.empty() && std::string_view(".!?\n").find(token.back()) != std::string_view::npos;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::string_view(" \n\t\r").find(text.front()) != std::string_view::npos) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::string_view(" \n\t\r").find(text.back()) != std::string_view::npos) {
    text.remove_suffix(1);
  }
  return text;
}

// The memory row of every text token.
std::vector<int64_t> text_rows(const std::vector<memory::Window>& windows) {
  std::vector<int64_t> rows;
  int64_t row = 0;
  for (const memory::Window& window : windows) {
    // A window is BOS, query, piece, EOS.
    const int64_t piece_end = static_cast<int64_t>(window.ids.size()) - 1;
    const int64_t piece_begin = piece_end - (window.text_end - window.text_begin);
    for (int64_t place = piece_begin; place < piece_end; ++place)
      rows.push_back(row + place - window.keep_begin);
    row += window.kept_rows();
  }
  return rows;
}

}  // namespace

std::vector<TokenRange> sentence_ranges(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                                        int64_t longest) {
  std::vector<TokenRange> ranges;
  const int64_t count = static_cast<int64_t>(ids.size());
  bool may_end = false;
  int64_t begin = 0;
  for (int64_t i = 0; i < count; ++i) {
    const std::string token = tokenizer.decode(ids.subspan(static_cast<size_t>(i), 1), false);
    if (i > begin && ((may_end && begins_with_space(token)) || i - begin >= longest)) {
      ranges.push_back({begin, i});
      begin = i;
      may_end = false;
    }
    // A lone closing quote keeps what stands before it.
    const bool closing = token.find_first_not_of("\"')]") == std::string::npos;
    may_end = closing ? may_end : may_end_sentence(token);
  }
  if (begin < count) ranges.push_back({begin, count});
  return ranges;
}

std::vector<SentenceSources> find_sources(const models::BartModel& model, const Tokenizer& tokenizer,
                                          const memory::MemoryBatch& memory,
                                          const std::vector<memory::Window>& windows, const Encoding& text,
                                          const TokenSequence& summary, int64_t most) {
  std::vector<SentenceSources> sentences;
  std::vector<TokenRange> groups;
  // The start token was given, not written.
  const std::span<const int32_t> written = std::span(summary).subspan(1);
  for (const TokenRange& range : sentence_ranges(tokenizer, written, std::numeric_limits<int64_t>::max())) {
    const std::string sentence = tokenizer.decode(
        written.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.end - range.begin)),
        true);
    if (trimmed(sentence).empty()) continue;
    sentences.push_back({std::string(trimmed(sentence)), {}});
    groups.push_back({range.begin + 1, range.end + 1});
  }
  if (sentences.empty() || text.ids.empty()) return sentences;

  const at::Tensor mass_GT = attention_mass(model, memory, summary, groups).contiguous();
  const std::vector<int64_t> rows = text_rows(windows);
  const std::vector<TokenRange> passages = sentence_ranges(tokenizer, text.ids, kLongestPassage);
  for (size_t s = 0; s < sentences.size(); ++s) {
    const double* mass_T = mass_GT.const_data_ptr<double>() + static_cast<int64_t>(s) * mass_GT.size(1);
    std::vector<Passage>& found = sentences[s].passages;
    double total = 0.0;
    for (const TokenRange& passage : passages) {
      Passage weighed;
      weighed.span = {text.offsets[static_cast<size_t>(passage.begin)].begin,
                      text.offsets[static_cast<size_t>(passage.end - 1)].end};
      for (int64_t i = passage.begin; i < passage.end; ++i)
        weighed.weight += mass_T[rows[static_cast<size_t>(i)]];
      total += weighed.weight;
      found.push_back(weighed);
    }
    const auto heavier = [](const Passage& a, const Passage& b) { return a.weight > b.weight; };
    std::stable_sort(found.begin(), found.end(), heavier);
    found.resize(std::min(found.size(), static_cast<size_t>(most)));
    for (Passage& passage : found) passage.weight /= total > 0.0 ? total : 1.0;
  }
  return sentences;
}

}  // namespace precis::generate

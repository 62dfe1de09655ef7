// Cutting a document into windows.
#include "memory/windows.h"

#include <algorithm>

#include "base/error.h"

namespace precis::memory {

int64_t piece_length(const models::BartConfig& config, int64_t window, int64_t query_tokens,
                     const std::string& where) {
  if (window < 3 || window > config.max_position_embeddings) {
    throw Error(ErrorKind::kUsage, {.what = "window out of range",
                                    .where = "window",
                                    .expected = "3 to " + std::to_string(config.max_position_embeddings) +
                                                " (the model's positions)",
                                    .found = std::to_string(window)});
  }
  const int64_t piece = window - 2 - query_tokens;
  if (piece < 1) {
    throw Error(ErrorKind::kUsage, {.what = "the query leaves no room for text in a window",
                                    .where = where,
                                    .expected = "at most " + std::to_string(window - 3) + " tokens",
                                    .found = std::to_string(query_tokens) + " tokens",
                                    .hint = "shorten the query or use a larger window"});
  }
  return piece;
}

std::vector<Window> cut_windows(const models::BartConfig& config, const DocumentTokens& document,
                                int64_t window) {
  const int64_t tokens = static_cast<int64_t>(document.text.size());
  const int64_t query_tokens = static_cast<int64_t>(document.query.size());
  const int64_t piece = piece_length(config, window, query_tokens);
  const int64_t count = std::max<int64_t>(1, (tokens + piece - 1) / piece);
  std::vector<Window> windows(count);
  for (int64_t k = 0; k < count; ++k) {
    Window& cut = windows[k];
    cut.text_begin = k * piece;
    cut.text_end = std::min(tokens, cut.text_begin + piece);
    cut.ids.reserve(cut.text_end - cut.text_begin + query_tokens + 2);
    cut.ids.push_back(static_cast<int32_t>(config.bos_token_id));
    cut.ids.insert(cut.ids.end(), document.query.begin(), document.query.end());
    cut.ids.insert(cut.ids.end(), document.text.begin() + cut.text_begin,
                   document.text.begin() + cut.text_end);
    cut.ids.push_back(static_cast<int32_t>(config.eos_token_id));
    const int64_t length = static_cast<int64_t>(cut.ids.size());
    cut.keep_begin = k == 0 ? 0 : 1;
    cut.keep_end = k + 1 == count ? length : length - 1;
  }
  return windows;
}

int64_t memory_rows(const std::vector<Window>& windows) {
  int64_t rows = 0;
  for (const Window& window : windows) rows += window.kept_rows();
  return rows;
}

}  // namespace precis::memory

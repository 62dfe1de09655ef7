// How a document is cut into windows and which encoder rows its memory keeps (PRODUCT, Windows and memory;
// methods: CachED, Fusion). Every token is read exactly once: nothing is ever truncated.
#pragma once

#include <cstdint>
#include <vector>

#include "models/bart/bart_config.h"

namespace precis::memory {

// A document's tokens as the encoder reads them, without special tokens.
struct DocumentTokens {
  std::vector<int32_t> text;
  std::vector<int32_t> query;  // tokenized alone; empty where there is none
};

// One encoder input, BOS + query + piece + EOS, and the rows of its states that the memory keeps.
struct Window {
  std::vector<int32_t> ids;
  int64_t keep_begin = 0;  // first kept row: BOS in the first window, else the row after it
  int64_t keep_end = 0;    // one past the last kept row: EOS in the last window, else up to it
  int64_t text_begin = 0;  // which text tokens of the document the piece holds
  int64_t text_end = 0;

  int64_t kept_rows() const { return keep_end - keep_begin; }
};

// Text tokens in a full window. Throws Error{kUsage} where `window` passes the model's positions or is below
// 3, or where the query leaves no room.
int64_t piece_length(const models::BartConfig& config, int64_t window, int64_t query_tokens,
                     const std::string& where = "query");

// max(1, ceil(n / piece)) windows; an empty document is one window of BOS (query) EOS.
std::vector<Window> cut_windows(const models::BartConfig& config, const DocumentTokens& document,
                                int64_t window);

// n + 2 + windows * |q|.
int64_t memory_rows(const std::vector<Window>& windows);

}  // namespace precis::memory

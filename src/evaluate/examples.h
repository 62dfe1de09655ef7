// From a row of a data file to the ids that training and the loss are computed on (PRODUCT, Targets).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "data/documents.h"
#include "memory/gradient.h"
#include "models/bart/bart_config.h"
#include "text/tokenizer.h"

namespace precis::evaluate {

struct ExampleOptions {
  int64_t window = 1024;
  int64_t max_target_tokens = 1024;    // BOS and EOS included
  bool truncate_long_targets = false;  // `target_overflow: truncate`: keeps BOS, the first tokens and EOS
  bool skip_empty_summaries = false;   // `on_empty_summary: skip`
  // How a person writes these three, for errors.
  std::string length_setting = "max_target_tokens";
  std::string truncate_setting = "target_overflow: truncate";
  std::string skip_setting = "data.on_empty_summary: skip";
};

// What was left out or cut, for the output: never silent.
struct ExampleCounts {
  int64_t examples = 0;
  int64_t skipped_lines = 0;  // bad ones, by whoever reads the file
  int64_t skipped_without_summary = 0;
  int64_t truncated_targets = 0;
};

// Warns of the rows that make_example left out or cut; `set` names the data.
void tell_counts(const ExampleCounts& counts, const std::string& set, const LogSink& sink);

// Throws Error{kModel} naming the document at `where` for an id that passes the model's vocabulary.
void check_ids(const std::vector<int32_t>& ids, const std::string& where, const models::BartConfig& config);

// Text and query as ids. Throws what check_ids() throws, Error{kUsage} where the query leaves no room in a
// window.
memory::DocumentTokens tokenize_document(const Document& document, const Tokenizer& tokenizer,
                                         const models::BartConfig& config, int64_t window);

// The first of `summaries` is the target: BOS + tokens + EOS. Nothing where it is empty or missing and such
// rows are skipped. Throws Error{kData} naming the row for a missing or empty summary and for a target that
// is too long.
std::optional<memory::Example> make_example(const Document& document, const Tokenizer& tokenizer,
                                            const models::BartConfig& config, const ExampleOptions& options,
                                            ExampleCounts& counts);

}  // namespace precis::evaluate

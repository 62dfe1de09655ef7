// Rows of data as ids.
#include "evaluate/examples.h"

#include <algorithm>

#include "base/error.h"

namespace precis::evaluate {

namespace {

std::vector<int32_t> tokenize(const std::string& text, const Document& document, const Tokenizer& tokenizer,
                              const models::BartConfig& config) {
  std::vector<int32_t> ids = tokenizer.encode(text, {.offsets = false}).ids;
  check_ids(ids, document.where, config);
  return ids;
}

}  // namespace

void check_ids(const std::vector<int32_t>& ids, const std::string& where, const models::BartConfig& config) {
  const auto outside =
      std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id >= config.vocab_size; });
  if (outside == ids.end()) return;
  throw Error(ErrorKind::kModel, {.what = "the tokenizer gives an id that the model's vocabulary lacks",
                                  .where = where,
                                  .expected = "ids below vocab_size " + std::to_string(config.vocab_size),
                                  .found = std::to_string(*outside),
                                  .hint = "the model directory's tokenizer is another model's"});
}

void tell_counts(const ExampleCounts& counts, const std::string& set, const LogSink& sink) {
  if (counts.skipped_without_summary > 0) {
    log(sink, LogLevel::kWarning,
        set + ": " + std::to_string(counts.skipped_without_summary) + " rows without a summary are left out");
  }
  if (counts.truncated_targets > 0) {
    log(sink, LogLevel::kWarning,
        set + ": " + std::to_string(counts.truncated_targets) + " targets are cut at the greatest length");
  }
}

memory::DocumentTokens tokenize_document(const Document& document, const Tokenizer& tokenizer,
                                         const models::BartConfig& config, int64_t window) {
  memory::DocumentTokens tokens;
  tokens.text = tokenize(document.text, document, tokenizer, config);
  if (document.query) tokens.query = tokenize(*document.query, document, tokenizer, config);
  memory::piece_length(config, window, static_cast<int64_t>(tokens.query.size()), document.where + ": query");
  return tokens;
}

std::optional<memory::Example> make_example(const Document& document, const Tokenizer& tokenizer,
                                            const models::BartConfig& config, const ExampleOptions& options,
                                            ExampleCounts& counts) {
  if (document.summaries.empty() || document.summaries.front().empty()) {
    if (options.skip_empty_summaries) {
      ++counts.skipped_without_summary;
      return std::nullopt;
    }
    throw Error(ErrorKind::kData, {.what = "row '" + document.id + "' has no summary",
                                   .where = document.where,
                                   .expected = "a summary that is not empty",
                                   .hint = options.skip_setting + " leaves such rows out"});
  }
  memory::Example example;
  example.id = document.id;
  example.document = tokenize_document(document, tokenizer, config, options.window);
  const std::vector<int32_t> summary = tokenize(document.summaries.front(), document, tokenizer, config);
  int64_t kept = static_cast<int64_t>(summary.size());
  if (kept + 2 > options.max_target_tokens) {
    if (!options.truncate_long_targets) {
      throw Error(ErrorKind::kData, {.what = "the summary of row '" + document.id + "' is too long",
                                     .where = document.where,
                                     .expected = "at most " + std::to_string(options.max_target_tokens) +
                                                 " tokens with BOS and EOS (" + options.length_setting + ")",
                                     .found = std::to_string(kept + 2),
                                     .hint = options.truncate_setting + " cuts and counts such targets"});
    }
    kept = options.max_target_tokens - 2;
    ++counts.truncated_targets;
  }
  example.target.push_back(static_cast<int32_t>(config.bos_token_id));
  example.target.insert(example.target.end(), summary.begin(), summary.begin() + kept);
  example.target.push_back(static_cast<int32_t>(config.eos_token_id));
  ++counts.examples;
  return example;
}

}  // namespace precis::evaluate

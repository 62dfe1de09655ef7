// Reading and tokenizing a data set.
#include "train/dataset.h"

#include <algorithm>

#include "base/error.h"
#include "data/documents.h"
#include "io/digest.h"

namespace precis::train {

namespace {

// A field that is named at its default may also be one of the common pairs; any other must be in every row.
DocumentOptions document_options(const TrainConfig::Data& data, const StopToken* stop) {
  const TrainConfig::Data defaults;
  const auto given = [](const std::string& name, const std::string& initial) {
    return name == initial ? "" : name;
  };
  return {.format = InputFormat::kJsonLines,
          .document_field = given(data.document_field, defaults.document_field),
          .summary_field = given(data.summary_field, defaults.summary_field),
          .query_field = given(data.query_field, defaults.query_field),
          .skip_bad_lines = parse_on_bad_line(data.on_bad_line).value_or(0),
          .stop = stop};
}

void add_ids(Sha256& digest, const std::vector<int32_t>& ids) {
  const int64_t size = static_cast<int64_t>(ids.size());
  digest.update({reinterpret_cast<const char*>(&size), sizeof size});
  digest.update({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
}

}  // namespace

Dataset load_dataset(const std::vector<std::string>& files, const TrainConfig& config,
                     const Tokenizer& tokenizer, const models::BartConfig& model,
                     const DatasetRequest& request) {
  const evaluate::ExampleOptions options = {
      .window = request.window,
      // The decoder has no positions for more.
      .max_target_tokens = std::min(config.max_target_tokens, model.max_position_embeddings),
      .truncate_long_targets = config.target_overflow == "truncate",
      .skip_empty_summaries = config.data.on_empty_summary == "skip"};
  Dataset set;
  Sha256 digest;
  const auto full = [&] { return request.limit > 0 && set.counts.examples >= request.limit; };
  for (const std::string& file : files) {
    if (full()) break;
    DocumentReader reader(file, document_options(config.data, request.stop));
    while (!full()) {
      throw_if_stopped(request.stop);
      const std::optional<Document> document = reader.next();
      if (!document) break;
      std::optional<memory::Example> example =
          evaluate::make_example(*document, tokenizer, model, options, set.counts);
      if (!example) continue;
      add_ids(digest, example->document.text);
      add_ids(digest, example->document.query);
      add_ids(digest, example->target);
      set.source_tokens += static_cast<int64_t>(example->document.text.size());
      set.longest_document = std::max<int64_t>(set.longest_document, example->document.text.size());
      set.longest_query = std::max<int64_t>(set.longest_query, example->document.query.size());
      set.longest_target = std::max<int64_t>(set.longest_target, example->target.size());
      if (request.keep_references) set.references.push_back(document->summaries);
      set.examples.push_back(*std::move(example));
      if (request.progress) request.progress(static_cast<int64_t>(set.examples.size()), set.source_tokens);
    }
    set.counts.skipped_lines += reader.skipped_lines();
    if (reader.skipped_lines() > 0) set.last_skip_reason = reader.last_skip_reason();
  }
  if (set.examples.empty()) {
    std::string names;
    for (const std::string& file : files) names += (names.empty() ? "" : ", ") + file;
    throw Error(ErrorKind::kData, {.what = "no rows to train or validate on", .where = names});
  }
  set.digest = digest.hex();
  return set;
}

}  // namespace precis::train

// Reading and tokenizing a data set.
#include "train/dataset.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "data/documents.h"
#include "io/digest.h"
#include "text/sentences.h"
#include "train/denoise_dataset.h"

namespace precis::train {

namespace {

// Keeps the noise apart from every other use of the same seed.
constexpr uint64_t kNoiseStream = 0x6E6F697365;  // "noise"

// A field that is named at its default may also be one of the common pairs; any other must be in every row.
// Text files have no summaries, and denoise wants none.
DocumentOptions document_options(const TrainConfig::Data& data, bool denoise, const StopToken* stop) {
  const TrainConfig::Data defaults;
  const auto given = [](const std::string& name, const std::string& initial) {
    return name == initial ? "" : name;
  };
  return {.format = denoise ? InputFormat::kAuto : InputFormat::kJsonLines,
          .document_field = given(data.document_field, defaults.document_field),
          .summary_field = given(data.summary_field, defaults.summary_field),
          .query_field = given(data.query_field, defaults.query_field),
          .summaries = !denoise,
          .skip_bad_lines = parse_on_bad_line(data.on_bad_line).value_or(0),
          .stop = stop};
}

void add_ids(Sha256& digest, const std::vector<int32_t>& ids) {
  const int64_t size = static_cast<int64_t>(ids.size());
  digest.update({reinterpret_cast<const char*>(&size), sizeof size});
  digest.update({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
}

// Adds a document's examples to the set: one, or its pieces, or none.
using AddDocument = std::function<void(const Document&, Dataset&)>;

AddDocument adds_summarization(const TrainConfig& config, const Tokenizer& tokenizer,
                               const models::BartConfig& model, const DatasetRequest& request) {
  const evaluate::ExampleOptions options = {
      .window = request.window,
      // The decoder has no positions for more.
      .max_target_tokens = std::min(config.max_target_tokens, model.max_position_embeddings),
      .truncate_long_targets = config.target_overflow == "truncate",
      .skip_empty_summaries = config.data.on_empty_summary == "skip"};
  return
      [options, keep = request.keep_references, &tokenizer, &model](const Document& document, Dataset& set) {
        std::optional<memory::Example> example =
            evaluate::make_example(document, tokenizer, model, options, set.counts);
        if (!example) return;
        set.examples.push_back(*std::move(example));
        if (keep) set.references.push_back(document.summaries);
      };
}

AddDocument adds_pieces(const TrainConfig& config, const Tokenizer& tokenizer,
                        const models::BartConfig& model, const DatasetRequest& request) {
  // The source has a window and the target its positions, each with BOS and EOS.
  const int64_t piece =
      std::min({request.window, config.max_target_tokens, model.max_position_embeddings}) - 2;
  const auto splitter = std::make_shared<SentenceSplitter>();
  return
      [piece, splitter, limit = request.limit, &tokenizer, &model](const Document& document, Dataset& set) {
        const size_t before = set.examples.size();
        add_pieces(document, tokenizer, model, piece, *splitter, set);
        if (set.examples.size() == before) ++set.empty_documents;
        if (limit > 0 && set.examples.size() > static_cast<size_t>(limit)) {
          set.examples.resize(static_cast<size_t>(limit));
          set.sentences.resize(static_cast<size_t>(limit));
        }
        set.counts.examples = static_cast<int64_t>(set.examples.size());
      };
}

// Counts the examples from `first` on.
void measure(Dataset& set, size_t first, Sha256& digest) {
  for (size_t i = first; i < set.examples.size(); ++i) {
    const memory::Example& example = set.examples[i];
    add_ids(digest, example.document.text);
    add_ids(digest, example.document.query);
    add_ids(digest, example.target);
    if (set.denoise) add_ids(digest, set.sentences[i]);
    // A noised text is never longer than its piece.
    const size_t tokens = set.denoise ? example.target.size() - 2 : example.document.text.size();
    set.source_tokens += static_cast<int64_t>(tokens);
    set.longest_document = std::max<int64_t>(set.longest_document, tokens);
    set.longest_query = std::max<int64_t>(set.longest_query, example.document.query.size());
    set.longest_target = std::max<int64_t>(set.longest_target, example.target.size());
  }
}

}  // namespace

Dataset load_dataset(const std::vector<std::string>& files, const TrainConfig& config,
                     const Tokenizer& tokenizer, const models::BartConfig& model,
                     const DatasetRequest& request) {
  const bool denoise = config.objective == "denoise";
  Dataset set;
  if (denoise) set.denoise = denoise_options(config, tokenizer, model, config.model);
  const AddDocument add = denoise ? adds_pieces(config, tokenizer, model, request)
                                  : adds_summarization(config, tokenizer, model, request);
  Sha256 digest;
  const auto full = [&] { return request.limit > 0 && set.counts.examples >= request.limit; };
  for (const std::string& file : files) {
    if (full()) break;
    DocumentReader reader(file, document_options(config.data, denoise, request.stop));
    while (!full()) {
      throw_if_stopped(request.stop);
      const std::optional<Document> document = reader.next();
      if (!document) break;
      ++set.documents;
      const size_t first = set.examples.size();
      add(*document, set);
      measure(set, first, digest);
      if (request.progress && set.examples.size() > first) {
        request.progress(static_cast<int64_t>(set.examples.size()), set.source_tokens);
      }
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
  if (denoise && request.use == DatasetUse::kValidation) fix_noise(set);
  return set;
}

memory::Example training_example(const Dataset& set, int64_t row, int64_t epoch, uint64_t seed) {
  memory::Example example = set.examples[static_cast<size_t>(row)];
  // A document that comes twice in one update, across an epoch's end, has two dropouts and two noises.
  example.key = combine(static_cast<uint64_t>(epoch), static_cast<uint64_t>(row));
  if (set.denoise) {
    example.document.text = noised_piece(set, row, combine(combine(seed, kNoiseStream), example.key));
  }
  return example;
}

}  // namespace precis::train

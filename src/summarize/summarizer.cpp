// Batches of documents: packed, encoded, decoded, and given out in order.
#include "summarize/summarizer.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <numeric>
#include <utility>

#include "evaluate/examples.h"
#include "generate/sources.h"
#include "io/utf8.h"
#include "memory/decode_plan.h"
#include "memory/encode.h"
#include "models/model_files.h"
#include "nn/device.h"

namespace precis {

int64_t Summary::output_tokens() const {
  return std::accumulate(
      sequences.begin(), sequences.end(), int64_t{0},
      [](int64_t sum, const Sequence& sequence) { return sum + sequence.output_tokens(); });
}

}  // namespace precis

namespace precis::summarize {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void show(const Callbacks& callbacks, double fraction, const std::string& doing) {
  if (callbacks.progress) callbacks.progress(fraction, doing);
}

// Encoding is taken as half of the work: how long decoding takes is not known before.
constexpr double kEncodingShare = 0.5;

}  // namespace

// Documents that are encoded and decoded together.
struct Summarizer::Pack {
  memory::DocumentPack documents;
  std::vector<Summary*> summaries_B;
  std::vector<std::string*> texts_B;
  bool next = false;  // one document, whose summary is the next to be taken

  // Of messages.
  std::string name() const {
    return summaries_B.size() == 1 ? summaries_B.front()->id
                                   : std::to_string(summaries_B.size()) + " documents";
  }
};

LoadedModel load_model(const std::filesystem::path& directory, at::ScalarType dtype, at::Device device,
                       const LogSink& sink) {
  const Clock::time_point start = Clock::now();
  // Weights are read from the disk's cache, a tokenizer is parsed: beside one another where two threads may
  // run.
  // With both, a thread that can't be started is no error.
  const std::launch how =
      at::get_num_threads() > 1 ? std::launch::async | std::launch::deferred : std::launch::deferred;
  std::future<Tokenizer> tokenizer = std::async(how, [&] { return Tokenizer::load(directory); });
  models::BartModel model = models::load_model(directory, dtype, sink);
  model.to(device);
  model.pack_for_inference();
  return {directory, std::move(model), tokenizer.get(), seconds_since(start)};
}

void check_query(const std::string& query, const std::string& where) {
  const size_t invalid = find_invalid_utf8(query);
  if (invalid == std::string_view::npos) return;
  throw Error(
      ErrorKind::kUsage,
      {.what = "the query is not UTF-8", .where = where, .found = describe_invalid_utf8(query, invalid)});
}

Summarizer::Summarizer(const LoadedModel& model, const SummarizerOptions& options, const LogSink& sink,
                       const StopToken* stop)
    : model_(model),
      options_(options),
      stop_(stop),
      window_(options.window.value_or(model.model.config().max_position_embeddings)),
      generation_(generate::resolve_generation_config(model.directory, model.model.config(),
                                                      options.generation, sink)) {}

BatchBounds Summarizer::batch_bounds() const {
  BatchBounds bounds;
  bounds.documents = std::min(bounds.documents, generate::documents_at_once(generation_));
  return bounds;
}

ReadDocument Summarizer::tokenize(Document document) const {
  const Clock::time_point start = Clock::now();
  ReadDocument read;
  read.tokens = evaluate::tokenize_document(document, model_.tokenizer, model_.model.config(), window_);
  read.document = std::move(document);
  read.seconds = seconds_since(start);
  return read;
}

int64_t Summarizer::plan_layers(Pack& pack) const {
  const memory::DecodePlan plan = memory::plan_decoding(model_.model, pack.documents,
                                                        {.sequences = generation_.rows(),
                                                         .max_length = generation_.max_length,
                                                         .budget = options_.memory_budget});
  for (Summary* summary : pack.summaries_B) {
    summary->held_layers = plan.held_layers;
    summary->absorbed_layers = plan.absorbed_layers();
  }
  return plan.held_layers;
}

memory::MemoryBatch Summarizer::encode(Pack& pack, const Callbacks& callbacks) {
  const Clock::time_point start = Clock::now();
  const auto encoded = [&](int64_t done, int64_t total) {
    show(callbacks, kEncodingShare * static_cast<double>(done) / static_cast<double>(total),
         pack.name() + ": " + std::to_string(done) + " of " + std::to_string(total) + " windows encoded");
  };
  memory::MemoryBatch memory = memory::encode_pack(model_.model, pack.documents, {}, stop_, encoded);
  nn::synchronize(model_.model.device());  // or its time would seem decoding's
  const double seconds = seconds_since(start);
  double rows = 0.0;
  for (const Summary* summary : pack.summaries_B) rows += static_cast<double>(summary->memory_rows);
  for (Summary* summary : pack.summaries_B) {
    summary->seconds.encode = seconds * static_cast<double>(summary->memory_rows) / rows;
  }
  return memory;
}

void Summarizer::write(Pack& pack, memory::MemoryBatch memory, int64_t held_layers,
                       const Callbacks& callbacks) {
  const Clock::time_point start = Clock::now();
  memory::DecodingCrossAttention attention(std::move(memory), held_layers);
  generate::Callbacks of_search;
  of_search.stop = stop_;
  of_search.on_step = [&](int64_t tokens, int64_t) {
    const double most = static_cast<double>(generation_.max_length - 1);
    show(callbacks, kEncodingShare + (1 - kEncodingShare) * static_cast<double>(tokens) / most,
         pack.name() + ": " + std::to_string(tokens) + " tokens written");
  };
  if (callbacks.on_certain && pack.next && generation_.num_return_sequences == 1) {
    of_search.on_certain = [&](int64_t, const generate::TokenSequence& ids) { callbacks.on_certain(ids); };
  }
  std::vector<generate::SearchedDocument> documents =
      generate::searched_documents(generation_, pack.documents, documents_);
  for (size_t b = 0; b < documents.size(); ++b) documents[b].name = pack.summaries_B[b]->id;
  std::vector<std::vector<generate::Generated>> generated =
      generate::generate(model_.model, attention, std::move(documents), generation_, of_search);
  for (size_t b = 0; b < generated.size(); ++b) {
    Summary& summary = *pack.summaries_B[b];
    for (generate::Generated& sequence : generated[b]) {
      std::string text = model_.tokenizer.decode(sequence.token_ids, true);
      summary.sequences.push_back(
          {std::move(text), std::move(sequence.token_ids), sequence.finish_reason, sequence.score});
    }
    if (generation_.sampling) summary.seed = generation_.sampling->seed;
  }
  const double seconds = seconds_since(start);
  double tokens = 0.0;
  for (const Summary* summary : pack.summaries_B) tokens += static_cast<double>(summary->output_tokens());
  for (Summary* summary : pack.summaries_B) {
    summary->seconds.decode = seconds * static_cast<double>(summary->output_tokens()) / tokens;
  }
}

void Summarizer::explain(Pack& pack, const memory::MemoryBatch& memory, const Callbacks& callbacks) {
  for (size_t b = 0; b < pack.summaries_B.size(); ++b) {
    throw_if_stopped(stop_);
    Summary& summary = *pack.summaries_B[b];
    const Clock::time_point start = Clock::now();
    show(callbacks, 1.0, summary.id + ": finding the sources");
    const memory::MemoryBatch own{memory.states_BTM.narrow(0, static_cast<int64_t>(b), 1),
                                  {memory.rows_B[b]}};
    summary.sources = generate::find_sources(model_.model, model_.tokenizer, own, pack.documents.windows_B[b],
                                             model_.tokenizer.encode(*pack.texts_B[b]),
                                             summary.sequences.front().token_ids);
    summary.seconds.explain = seconds_since(start);
  }
}

void Summarizer::summarize(std::vector<ReadDocument> batch, const Callbacks& callbacks) {
  std::vector<Summary> summaries(batch.size());
  std::vector<std::string> texts(batch.size());  // kept to be explained
  std::vector<std::vector<memory::Window>> windows;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Clock::time_point start = Clock::now();
    windows.push_back(memory::cut_windows(model_.model.config(), batch[i].tokens, window_));
    summaries[i].id = batch[i].document.id;
    summaries[i].input_tokens = static_cast<int64_t>(batch[i].tokens.text.size());
    summaries[i].windows = static_cast<int64_t>(windows.back().size());
    summaries[i].memory_rows = memory::memory_rows(windows.back());
    if (options_.explain) texts[i] = std::move(batch[i].document.text);
    summaries[i].seconds.load = model_.seconds;
    summaries[i].seconds.read = batch[i].seconds + seconds_since(start);
  }
  batch.clear();
  std::vector<memory::DocumentPack> packs = memory::pack_documents(std::move(windows));
  const auto first = [](const memory::DocumentPack& pack) {
    return *std::min_element(pack.documents.begin(), pack.documents.end());
  };
  std::sort(packs.begin(), packs.end(), [&](const auto& a, const auto& b) { return first(a) < first(b); });

  size_t taken = 0;
  for (memory::DocumentPack& documents : packs) {
    Pack pack{std::move(documents), {}, {}};
    for (const int64_t i : pack.documents.documents) {
      pack.summaries_B.push_back(&summaries[static_cast<size_t>(i)]);
      pack.texts_B.push_back(&texts[static_cast<size_t>(i)]);
    }
    pack.next = pack.summaries_B.size() == 1 && pack.summaries_B.front() == &summaries[taken];
    const int64_t held_layers = plan_layers(pack);
    memory::MemoryBatch memory = encode(pack, callbacks);
    if (options_.explain) {
      write(pack, memory, held_layers, callbacks);
      explain(pack, memory, callbacks);
    } else {
      write(pack, std::move(memory), held_layers, callbacks);
    }
    for (; taken < summaries.size() && !summaries[taken].sequences.empty(); ++taken) {
      callbacks.take(summaries[taken], texts[taken]);
      texts[taken].clear();
    }
  }
  documents_ += summaries.size();
}

}  // namespace precis::summarize

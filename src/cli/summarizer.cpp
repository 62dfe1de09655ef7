// Batches of documents: packed, encoded, decoded, and given out in order.
#include "cli/summarizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "cli/numbers.h"
#include "cli/program.h"
#include "memory/decode_plan.h"
#include "memory/encode.h"
#include "models/model_files.h"

namespace precis::cli {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Encoding is taken as half of the work: how long decoding takes is not known before.
constexpr double kEncodingShare = 0.5;

}  // namespace

// Documents that are encoded and decoded together.
struct Summarizer::Pack {
  memory::DocumentPack documents;
  std::vector<Summary*> summaries_B;

  // Of messages.
  std::string name() const {
    return summaries_B.size() == 1 ? summaries_B.front()->id
                                   : std::to_string(summaries_B.size()) + " documents";
  }
};

Summarizer::Summarizer(const std::filesystem::path& model, const SummarizerOptions& options, LogSink sink,
                       const StopToken* stop)
    : options_(options),
      stop_(stop),
      progress_(sink, options.progress),
      started_(Clock::now()),
      model_(models::load_model(model, options.dtype, sink)),
      tokenizer_(Tokenizer::load(model)),
      window_(options.window.value_or(model_.config().max_position_embeddings)),
      generation_(generate::resolve_generation_config(model, model_.config(), options.generation,
                                                      progress_.wrap(std::move(sink)))),
      load_seconds_(0.0) {
  model_.pack_decoder();
  load_seconds_ = seconds_since(started_);
}

int64_t Summarizer::plan_layers(Pack& pack) const {
  const memory::DecodePlan plan = memory::plan_decoding(model_, pack.documents,
                                                        {.sequences = generation_.rows(),
                                                         .max_length = generation_.max_length,
                                                         .budget = options_.memory_budget});
  for (Summary* summary : pack.summaries_B) {
    summary->held_layers = plan.held_layers;
    summary->absorbed_layers = plan.absorbed_layers();
  }
  return plan.held_layers;
}

memory::MemoryBatch Summarizer::encode(Pack& pack) {
  const Clock::time_point start = Clock::now();
  const auto show = [&](int64_t done, int64_t total) {
    progress_.update(
        kEncodingShare * static_cast<double>(done) / static_cast<double>(total),
        pack.name() + ": " + std::to_string(done) + " of " + std::to_string(total) + " windows encoded");
  };
  memory::MemoryBatch memory = memory::encode_pack(model_, pack.documents, {}, stop_, show);
  const double seconds = seconds_since(start);
  double rows = 0.0;
  for (const Summary* summary : pack.summaries_B) rows += static_cast<double>(summary->memory_rows);
  for (Summary* summary : pack.summaries_B) {
    summary->seconds.encode = seconds * static_cast<double>(summary->memory_rows) / rows;
  }
  return memory;
}

void Summarizer::write(Pack& pack, memory::MemoryBatch memory, int64_t held_layers, SummaryStream* stream) {
  const Clock::time_point start = Clock::now();
  memory::DecodingCrossAttention attention(std::move(memory), held_layers);
  generate::Callbacks callbacks;
  callbacks.stop = stop_;
  callbacks.on_step = [&](int64_t tokens, int64_t) {
    if (stream != nullptr && stream->started()) return;  // a bar would be drawn into the text
    const double most = static_cast<double>(generation_.max_length - 1);
    progress_.update(kEncodingShare + (1 - kEncodingShare) * static_cast<double>(tokens) / most,
                     pack.name() + ": " + std::to_string(tokens) + " tokens written");
  };
  if (stream != nullptr) {
    callbacks.on_certain = [&](int64_t, const generate::TokenSequence& ids) { stream->update(ids); };
  }
  std::vector<std::vector<generate::Generated>> generated = generate::generate(
      model_, attention, generate::searched_documents(generation_, pack.documents, documents_), generation_,
      callbacks);
  for (size_t b = 0; b < generated.size(); ++b) {
    Summary& summary = *pack.summaries_B[b];
    for (generate::Generated& sequence : generated[b]) {
      std::string text = tokenizer_.decode(sequence.token_ids, true);
      summary.sequences.push_back({std::move(text), std::move(sequence)});
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

void Summarizer::explain(Pack& pack, const memory::MemoryBatch& memory, bool streamed) {
  for (size_t b = 0; b < pack.summaries_B.size(); ++b) {
    throw_if_stopped(stop_);
    Summary& summary = *pack.summaries_B[b];
    const Clock::time_point start = Clock::now();
    if (!streamed) progress_.update(1.0, summary.id + ": finding the sources");
    const memory::MemoryBatch own{memory.states_BTM.narrow(0, static_cast<int64_t>(b), 1),
                                  {memory.rows_B[b]}};
    summary.sources = generate::find_sources(model_, tokenizer_, own, pack.documents.windows_B[b],
                                             tokenizer_.encode(summary.source),
                                             summary.sequences.front().generated.token_ids);
    summary.seconds.explain = seconds_since(start);
  }
}

void Summarizer::tell(const Summary& summary) {
  const Seconds& seconds = summary.seconds;
  const std::string seed = summary.seed ? ", sampled with seed " + std::to_string(*summary.seed) : "";
  const std::string absorbed = summary.absorbed_layers == 0
                                   ? ""
                                   : ", cross-attention of " + std::to_string(summary.absorbed_layers) +
                                         " of " +
                                         std::to_string(summary.held_layers + summary.absorbed_layers) +
                                         " layers absorbed to save memory";
  progress_.finish(1.0, summary.id + ": " + std::to_string(summary.input_tokens) + " tokens read in " +
                            std::to_string(summary.windows) + " windows, " +
                            std::to_string(summary.output_tokens()) + " tokens written" + seed + absorbed +
                            ", " + format_seconds(seconds.encode + seconds.decode + seconds.explain));
}

void Summarizer::summarize(std::vector<ReadDocument> batch, Streaming streaming, const Separator& separator,
                           const Take& take) {
  std::vector<Summary> summaries(batch.size());
  std::vector<std::vector<memory::Window>> windows;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Clock::time_point start = Clock::now();
    windows.push_back(memory::cut_windows(model_.config(), batch[i].tokens, window_));
    summaries[i].id = batch[i].document.id;
    summaries[i].input_tokens = static_cast<int64_t>(batch[i].tokens.text.size());
    summaries[i].windows = static_cast<int64_t>(windows.back().size());
    summaries[i].memory_rows = memory::memory_rows(windows.back());
    if (options_.explain) summaries[i].source = std::move(batch[i].document.text);
    summaries[i].seconds.load = load_seconds_;
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
    Pack pack{std::move(documents), {}};
    for (const int64_t i : pack.documents.documents) {
      pack.summaries_B.push_back(&summaries[static_cast<size_t>(i)]);
    }
    std::optional<SummaryStream> stream;
    if (streaming == Streaming::kWhereAlone && pack.summaries_B.size() == 1 &&
        pack.summaries_B.front() == &summaries[taken] && generation_.num_return_sequences == 1) {
      stream.emplace(tokenizer_, separator(), [this] { progress_.clear(); });
    }
    const int64_t held_layers = plan_layers(pack);
    memory::MemoryBatch memory = encode(pack);
    try {
      if (options_.explain) {
        write(pack, memory, held_layers, stream ? &*stream : nullptr);
        explain(pack, memory, stream && stream->started());
      } else {
        write(pack, std::move(memory), held_layers, stream ? &*stream : nullptr);
      }
    } catch (const Error& error) {
      // What is said of it goes on a line of its own.
      if (stream && stream->started() && error.kind() != ErrorKind::kIo) stream->break_off();
      throw;
    }
    for (; taken < summaries.size() && !summaries[taken].sequences.empty(); ++taken) {
      const bool streamed = stream && stream->started() && &summaries[taken] == pack.summaries_B.front();
      if (!streamed) tell(summaries[taken]);
      take(summaries[taken], streamed ? &*stream : nullptr);
      if (streamed) tell(summaries[taken]);
      summaries[taken].source.clear();
    }
  }
  documents_ += summaries.size();
}

}  // namespace precis::cli

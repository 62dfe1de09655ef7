// A model that summarizes batches of documents: what `precis summarize`, and precis::Model, are made of.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/stop.h"
#include "data/documents.h"
#include "generate/generate.h"
#include "io/json.h"
#include "memory/cross_attention.h"
#include "memory/packs.h"
#include "models/bart/bart.h"
#include "precis/summary.h"
#include "text/tokenizer.h"

namespace precis::summarize {

struct LoadedModel {
  std::filesystem::path directory;
  models::BartModel model;  // its decoder is packed, on a CPU
  Tokenizer tokenizer;
  double seconds = 0.0;  // that loading took
};
// Throws Error{kModel} of whatever is wrong with the directory.
LoadedModel load_model(const std::filesystem::path& directory, at::ScalarType dtype, at::Device device,
                       const LogSink& sink);

struct SummarizerOptions {
  std::optional<int64_t> window;
  Json generation = Json::object();  // as generate::resolve_generation_config takes it
  bool explain = false;
  std::optional<int64_t> memory_budget;  // bytes of the whole program
};

struct ReadDocument {
  Document document;
  memory::DocumentTokens tokens;
  double seconds = 0.0;  // that reading and tokenizing it took
};

// A batch is full with the document that reaches either.
struct BatchBounds {
  int64_t documents = 64;
  int64_t tokens = int64_t{1} << 16;  // of texts

  bool full(size_t documents_read, int64_t tokens_read) const {
    return static_cast<int64_t>(documents_read) >= documents || tokens_read >= tokens;
  }
};

struct Callbacks {
  // The summaries in the documents' order, each as soon as it and those before it are there. `text` is the
  // document's, with SummarizerOptions::explain.
  std::function<void(const Summary& summary, const std::string& text)> take;
  // The tokens that the next summary to be taken is sure to begin with; they only ever grow. Only of a
  // document that is written alone, in one sequence.
  std::function<void(const generate::TokenSequence& ids)> on_certain = {};
  // How much of the documents that are worked on together is done, in [0, 1], and what is being done.
  std::function<void(double fraction, const std::string& doing)> progress = {};
};

// Throws Error{kUsage} where a query is not UTF-8; `where` names it.
void check_query(const std::string& query, const std::string& where);

class Summarizer {
 public:
  // Throws Error of whatever is wrong with the options. The model must outlive this.
  Summarizer(const LoadedModel& model, const SummarizerOptions& options, const LogSink& sink,
             const StopToken* stop);

  const generate::GenerationConfig& generation() const { return generation_; }
  // How many documents are worth reading at once.
  BatchBounds batch_bounds() const;
  // Throws what evaluate::tokenize_document() throws. `document.query` is what is put before every window.
  ReadDocument tokenize(Document document) const;
  void summarize(std::vector<ReadDocument> batch, const Callbacks& callbacks);

 private:
  struct Pack;
  memory::MemoryBatch encode(Pack& pack, const Callbacks& callbacks);
  // Decoder layers whose keys and values are held: as many as the budget lets.
  int64_t plan_layers(Pack& pack) const;
  void write(Pack& pack, memory::MemoryBatch memory, int64_t held_layers, const Callbacks& callbacks);
  void explain(Pack& pack, const memory::MemoryBatch& memory, const Callbacks& callbacks);

  const LoadedModel& model_;
  SummarizerOptions options_;
  const StopToken* stop_;
  int64_t window_;
  generate::GenerationConfig generation_;
  uint64_t documents_ = 0;  // before this batch: names them for draws
};

}  // namespace precis::summarize

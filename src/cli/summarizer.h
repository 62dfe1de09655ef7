// A model that summarizes batches of documents, with progress on stderr.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/stop.h"
#include "cli/document_batches.h"
#include "cli/progress.h"
#include "cli/summary.h"
#include "generate/generate.h"
#include "io/json.h"
#include "memory/cross_attention.h"
#include "memory/packs.h"
#include "models/bart/bart.h"
#include "text/tokenizer.h"

namespace precis::cli {

struct SummarizerOptions {
  at::ScalarType dtype = at::kFloat;
  std::optional<int64_t> window;
  Json generation = Json::object();
  bool explain = false;
  std::optional<int64_t> memory_budget;  // bytes of the whole program
  bool progress = true;                  // a bar is allowed
};

// How the text of a document that is written alone may come out before its end.
enum class Streaming { kOff, kWhereAlone };

class Summarizer {
 public:
  // Throws Error of whatever is wrong with the model or the options.
  Summarizer(const std::filesystem::path& model, const SummarizerOptions& options, LogSink sink,
             const StopToken* stop);

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const models::BartConfig& model_config() const { return model_.config(); }
  const generate::GenerationConfig& generation() const { return generation_; }
  int64_t window() const { return window_; }

  // Takes the summaries in the documents' order, each as soon as it and those before it are there. `stream`
  // has written the summary's text already where it has started.
  using Take = std::function<void(const Summary& summary, SummaryStream* stream)>;
  // What stands before a text that is streamed.
  using Separator = std::function<std::string()>;
  void summarize(std::vector<ReadDocument> batch, Streaming streaming, const Separator& separator,
                 const Take& take);

 private:
  struct Pack;
  memory::MemoryBatch encode(Pack& pack);
  // Decoder layers whose keys and values are held: as many as the budget lets.
  int64_t plan_layers(Pack& pack) const;
  void write(Pack& pack, memory::MemoryBatch memory, int64_t held_layers, SummaryStream* stream);
  void explain(Pack& pack, const memory::MemoryBatch& memory, bool streamed);
  void tell(const Summary& summary);

  SummarizerOptions options_;
  const StopToken* stop_;
  Progress progress_;
  std::chrono::steady_clock::time_point started_;
  models::BartModel model_;
  Tokenizer tokenizer_;
  int64_t window_;
  generate::GenerationConfig generation_;
  double load_seconds_;
  uint64_t documents_ = 0;  // before this batch: names them for draws
};

}  // namespace precis::cli

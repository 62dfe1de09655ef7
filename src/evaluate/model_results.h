// What a model makes of documents: the losses of their targets and the summaries it writes for them, from one
// encoding of each.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "generate/generation_config.h"
#include "generate/search.h"
#include "memory/gradient.h"
#include "models/bart/bart.h"
#include "parallel/communicator.h"

namespace precis::evaluate {

struct ModelRequest {
  int64_t window = 1024;
  bool loss = true;
  std::optional<generate::GenerationConfig> generation;  // nothing: no summaries
  // Decoder layers that hold keys and values while summaries are written; the others are absorbed: slower,
  // and for documents of any length. Nothing: as many as the machine's memory lets (memory::plan_decoding).
  std::optional<int64_t> held_layers;
  // Share the examples; null: this process alone.
  parallel::Communicator* ranks = nullptr;
  const StopToken* stop = nullptr;
  // Examples that are done, in parts of one, and what is being done.
  std::function<void(double done, const std::string& doing)> progress;
};

struct ModelResult {
  memory::DocumentLoss loss;        // zeros where it was not asked for
  generate::TokenSequence summary;  // start token included; empty where it was not asked for
};

// In the examples' order, on every rank. Throws Error with the stop's reason in between.
std::vector<ModelResult> model_results(const models::BartModel& model,
                                       const std::vector<memory::Example>& examples,
                                       const ModelRequest& request);

}  // namespace precis::evaluate

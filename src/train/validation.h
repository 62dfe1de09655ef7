// Validation: the loss of held-out documents, and ROUGE of the summaries that are generated for them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/stop.h"
#include "evaluate/rouge.h"
#include "generate/generation_config.h"
#include "models/bart/bart.h"
#include "text/tokenizer.h"
#include "train/dataset.h"

namespace precis::train {

struct ValidationRequest {
  int64_t window = 1024;
  std::optional<generate::GenerationConfig> generation;  // nothing: the loss alone
  bool streamed = false;                    // hold no layer's keys and values while summaries are written
  parallel::Communicator* ranks = nullptr;  // share the documents; null: this process alone
  const StopToken* stop = nullptr;
  std::function<void(int64_t done, int64_t total)> progress;  // documents that are done
};

struct ValidationResult {
  double loss = 0.0;  // token-weighted
  int64_t tokens = 0;
  int64_t documents = 0;
  // Mean F-measures in the order of evaluate::kRougeNames, with stemming.
  std::optional<std::array<double, 4>> rouge;
  double mean_length = 0.0;  // generated tokens a summary, special ones not counted

  // The value of `loss` or of one of kRougeNames, which must have been computed.
  double metric(const std::string& name) const;
};

// `loss` is better where it is smaller, the others where they are larger.
bool is_better(const std::string& metric, double value, double than);

ValidationResult validate(const models::BartModel& model, const Tokenizer& tokenizer, const Dataset& set,
                          const ValidationRequest& request);

}  // namespace precis::train

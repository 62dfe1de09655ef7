// The rows of a data set as ids, all in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "evaluate/examples.h"
#include "memory/gradient.h"
#include "models/bart/bart_config.h"
#include "text/tokenizer.h"
#include "train/config.h"

namespace precis::train {

struct Dataset {
  std::vector<memory::Example> examples;
  std::vector<std::vector<std::string>> references;  // of each example; only where they were asked for
  evaluate::ExampleCounts counts;
  std::string last_skip_reason;  // of the latest bad line; empty without one
  int64_t source_tokens = 0;
  int64_t longest_document = 0;  // text tokens
  int64_t longest_query = 0;
  int64_t longest_target = 0;
  std::string digest;  // of all ids, in order
};

struct DatasetRequest {
  int64_t window = 1024;
  int64_t limit = 0;  // rows to read at most; 0: all
  bool keep_references = false;
  const StopToken* stop = nullptr;
  std::function<void(int64_t rows, int64_t tokens)> progress;  // after each row
};

// Reads and tokenizes. Throws Error{kData} naming file and row, and where no example is left.
Dataset load_dataset(const std::vector<std::string>& files, const TrainConfig& config,
                     const Tokenizer& tokenizer, const models::BartConfig& model,
                     const DatasetRequest& request);

}  // namespace precis::train

// The rows of a data set as ids, all in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "data/denoise.h"
#include "evaluate/examples.h"
#include "memory/gradient.h"
#include "models/bart/bart_config.h"
#include "text/tokenizer.h"
#include "train/config.h"

namespace precis::train {

struct Dataset {
  // Under `denoise` an example is a piece of a document. In training its source is empty here, since each
  // epoch draws other noise; in validation it is the piece with fixed noise.
  std::vector<memory::Example> examples;
  std::vector<std::vector<std::string>> references;  // of each example; only where they were asked for
  std::optional<DenoiseOptions> denoise;             // where that is the objective
  std::vector<std::vector<int32_t>> sentences;       // then, of each example: where they begin in the piece
  evaluate::ExampleCounts counts;
  int64_t documents = 0;         // that were read
  int64_t empty_documents = 0;   // of them, under `denoise`: nothing to learn from
  std::string last_skip_reason;  // of the latest bad line; empty without one
  int64_t source_tokens = 0;
  int64_t longest_document = 0;  // text tokens
  int64_t longest_query = 0;
  int64_t longest_target = 0;
  std::string digest;  // of all ids, in order
};

enum class DatasetUse { kTraining, kValidation };

struct DatasetRequest {
  DatasetUse use = DatasetUse::kTraining;
  int64_t window = 1024;
  int64_t limit = 0;  // examples at most; 0: all
  bool keep_references = false;
  const StopToken* stop = nullptr;
  std::function<void(int64_t rows, int64_t tokens)> progress;  // after each row
};

// Reads and tokenizes. Throws Error{kData} naming file and row, and where no example is left; under `denoise`
// what denoise_options() throws, naming config.model.
Dataset load_dataset(const std::vector<std::string>& files, const TrainConfig& config,
                     const Tokenizer& tokenizer, const models::BartConfig& model,
                     const DatasetRequest& request);

// Example `row` as epoch `epoch` trains on it: with its key, which draws its dropout, and its noise, a pure
// function of (seed, epoch, row).
memory::Example training_example(const Dataset& set, int64_t row, int64_t epoch, uint64_t seed);

}  // namespace precis::train

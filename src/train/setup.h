// Everything a run needs before its first update: tokenizer, model, data sets, generation settings, plan.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/stop.h"
#include "data/sampler.h"
#include "generate/generation_config.h"
#include "memory/encode.h"
#include "memory/plan.h"
#include "models/bart/bart.h"
#include "text/tokenizer.h"
#include "train/config.h"
#include "train/dataset.h"
#include "train/optimizer.h"
#include "train/rank_grid.h"

namespace precis::train {

struct Generation {
  Json json;  // generation_config.json of what is saved
  generate::GenerationConfig config;
};

struct Setup {
  Tokenizer tokenizer;
  std::string tokenizer_digest;
  models::BartConfig model_config;
  std::string model_digest;  // of the configured model, its tokenizer included
  Dataset training;
  std::optional<Dataset> validation;
  Generation generation;
  int64_t window = 0;
};

using ReadingProgress = std::function<void(int64_t rows, int64_t tokens)>;

// Reads the tokenizer and the model's configuration in `start`, which is `config.model` or the checkpoint
// that a run goes on from, and all rows; no weights yet. Of a resumed run's `config.model` only the digest is
// wanted. Says through `sink` what was skipped or cut. Throws what load_dataset throws, Error{kModel} for the
// model's files, Error{kUsage} for a window or a length that the model can't take, Error{kUnsupported} for
// layerdrop.
Setup prepare(const TrainConfig& config, const std::filesystem::path& start, const LogSink& sink,
              const StopToken* stop, const ReadingProgress& progress);

// The step at which the run ends that stands at `step` and `place`, of a data set of `rows`.
int64_t last_step(const TrainConfig& config, int64_t rows, int64_t step, SamplerState place);

// The three rates of an update's dropout: the model's own, or what the configuration sets in their place.
memory::StepDropout dropout_rates(const TrainConfig& config, const models::BartConfig& model);

// The settings that `validation` gives a model, beside those of its own in `start` that say nothing of
// lengths.
Generation make_generation(const TrainConfig& config, const std::filesystem::path& start,
                           const models::BartConfig& model, const LogSink& sink);

// The type of the stored encoder states.
std::optional<at::ScalarType> memory_type(const TrainConfig& config);

OptimizerOptions optimizer_options(const TrainConfig::Optimizer& config);

// Under `auto` a resumed run's steps take no more than they did, `step_bytes`, so that they are computed in
// the same way.
memory::MemoryPlan make_plan(const TrainConfig& config, const Setup& setup, const models::BartModel& model,
                             const RankGrid& ranks, std::optional<int64_t> step_bytes);

}  // namespace precis::train

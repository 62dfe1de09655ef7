// The training loop: updates, validations, checkpoints and their record, from a configuration to a folder of
// checkpoints (PRODUCT, `train`).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/log.h"
#include "base/stop.h"
#include "memory/plan.h"
#include "parallel/communicator.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/setup.h"
#include "train/update.h"
#include "train/validation.h"

namespace precis::train {

struct TrainRequest {
  TrainConfig config;
  std::string resume = "auto";  // auto, never, or a checkpoint directory, which is never passed over
  std::vector<std::string> allow_change;
  bool dry_run = false;          // ends after the memory plan; nothing is written
  at::Device device = at::kCPU;  // where to compute, as nn::find_device gives it
};

struct StepReport {
  int64_t step = 0;
  int64_t total_steps = 0;
  double fraction = 0.0;  // of the run: the larger of the shares of steps and of the time limit
  double learning_rate = 0.0;
  double seconds = 0.0;            // of training, all sessions together
  double seconds_of_update = 0.0;  // of this one
  UpdateResult update;
};

// What a caller may want to show. All are optional and called from the thread that trains.
struct TrainObserver {
  ReadingProgress on_reading;
  std::function<void(const memory::MemoryPlan&)> on_plan;
  // Inside the update of `step`; not of those over in less than a moment.
  std::function<void(int64_t step, memory::StepPhase phase, int64_t done, int64_t total)> on_progress;
  std::function<void(const StepReport&)> on_step;
  std::function<void(int64_t done, int64_t total)> on_validating;
  std::function<void(int64_t step, const ValidationResult&, bool best)> on_validation;
  std::function<void(const std::filesystem::path&)> on_checkpoint;
};

struct TrainOutcome {
  int64_t first_step = 0;  // that this session did not do: 0, or the resumed checkpoint's
  int64_t step = 0;
  double seconds = 0.0;
  bool stopped_early = false;  // by early_stopping
  std::optional<BestSoFar> best;
  std::filesystem::path checkpoint;  // the last one; empty after a dry run
  int64_t planned_bytes = 0;         // of memory of the device, as nn::peak_bytes counts it
};

// Trains, or goes on, until the configured end. Where a stop is requested or a loss is not finite, the state
// after the last whole update is saved first; then Error of the stop's reason or Error{kNonFinite}.
// Over several ranks, all call it with the same request; the leader alone writes and is observed. A stop of
// one stops all between two updates.
TrainOutcome train(const TrainRequest& request, FileSystem& files, const LogSink& sink, const StopToken* stop,
                   const TrainObserver& observer, parallel::Communicator& ranks = parallel::one_rank());

}  // namespace precis::train

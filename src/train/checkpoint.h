// Checkpoints: committed directories that are model directories too, and everything that makes a resumed run
// the run that was interrupted (RELIABILITY, Promises).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "base/log.h"
#include "data/sampler.h"
#include "io/json.h"
#include "models/bart/bart.h"
#include "text/tokenizer.h"
#include "train/early_stopping.h"
#include "train/optimizer.h"

namespace precis::train {

// What makes a model directory a checkpoint.
inline constexpr const char* kStateName = "trainer.json";
inline constexpr const char* kOptimizerName = "optimizer.safetensors";

struct BestSoFar {
  std::string metric;
  double value = 0.0;
  int64_t step = 0;
  std::string run;      // whose checkpoint it is
  std::string measure;  // digest of the metric, the rows and the settings that the value came from
};

// trainer.json. Checkpoints are written between updates alone, so nothing of an accumulation is ever left
// over.
struct TrainerState {
  std::string run;  // begins with the time the run began, so that the newest run sorts last
  int64_t step = 0;
  int64_t validated_step = -1;  // the last step that was validated
  int64_t optimizer_steps = 0;  // fewer than `step` where another optimiser began in between
  SamplerState sampler;
  std::optional<BestSoFar> best;
  EarlyStopping early_stopping;
  double seconds = 0.0;               // of training, all sessions together
  std::optional<int64_t> step_bytes;  // of the plan (memory/plan.h), under `auto`
  std::string model_digest;           // of the directory that training started from
  std::string tokenizer_digest;       // of the checkpoint's own
  std::string data_digest;            // of the training examples' ids
  Json config;                        // config_to_json: every key

  Json to_json() const;
  // Throws Error{kModel} naming the field.
  static TrainerState from_json(const Json& json, const std::string& where);
};

// What is saved besides the trainer's state.
struct CheckpointParts {
  const models::BartModel& model;
  const Optimizer& optimizer;
  const Tokenizer& tokenizer;
  const Json& generation_config;
};

// Writes `folder`/step-NNNNNNNN, having read it back against its digests, then points `latest` to it, and
// `best` to the best so far (no `best` where there is none). Returns its path. A checkpoint of that step is
// replaced. On any error the earlier ones and the links stand as they were.
std::filesystem::path save_checkpoint(FileSystem& files, const std::filesystem::path& folder,
                                      const CheckpointParts& parts, const TrainerState& state);

// Removes all but the newest `keep` checkpoints of the run `state.run`; never the one of `state` nor the
// best. Checkpoints of other runs stay. Call after save_checkpoint has returned.
void prune_checkpoints(FileSystem& files, const std::filesystem::path& folder, const TrainerState& state,
                       int64_t keep);

struct ResumePoint {
  std::filesystem::path path;
  TrainerState state;
};

// Every byte is checked against the manifest. Throws Error{kModel}.
ResumePoint open_checkpoint(const std::filesystem::path& path);
// The newest valid checkpoint of the newest run in `folder`, by number. Damaged ones are passed over with a
// warning; where all are damaged: Error{kModel}. Nothing where there is none.
std::optional<ResumePoint> newest_checkpoint(const std::filesystem::path& folder, const LogSink& log);

// Whether it is the one that newest_checkpoint() gives.
bool is_newest(const ResumePoint& point, const std::filesystem::path& folder);

// The name that sorts last of those that checkpoints in `folder` belong to; empty where there is none.
std::string newest_run(const std::filesystem::path& folder);

// Whether `folder` has a checkpoint of that step and run.
bool holds_checkpoint(const std::filesystem::path& folder, int64_t step, const std::string& run);

// The optimiser's tensors of a checkpoint. Throws Error{kModel}.
void load_optimizer(Optimizer& optimizer, const ResumePoint& point);

// Refuses to go on with another learning rate, batch, data or model than before: Error{kConfig} listing every
// field that differs with both values. `allowed` names keys ("optimizer.learning_rate"), sections ("batch"),
// "data" and "model".
void check_unchanged(const TrainerState& before, const TrainerState& now,
                     const std::vector<std::string>& allowed);

// Error{kUsage} for a name that check_unchanged() does not know.
void check_changeable(const std::vector<std::string>& given);

}  // namespace precis::train

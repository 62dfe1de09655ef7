// The configuration of `precis train` (PRODUCT, Contract: `train`): a YAML file, strict, with overrides from
// the command line. What each key means, its range and its default are in train/schema.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "io/json.h"

namespace precis::train {

struct TrainConfig {
  std::string objective = "summarization";
  std::string model;
  std::string output;
  int64_t seed = 1;
  std::string precision = "float32";
  struct Data {
    std::vector<std::string> train;
    std::vector<std::string> validation;
    std::string document_field = "document";
    std::string summary_field = "summary";
    std::string query_field = "query";
    std::string on_empty_summary = "error";
    std::string on_bad_line = "error";
  } data;
  struct Denoise {
    double mask_ratio = 0.3;
    double poisson_lambda = 3.0;
    double permute_sentences = 1.0;
  } denoise;
  std::optional<int64_t> window;
  int64_t max_target_tokens = 1024;
  std::string target_overflow = "error";
  struct Encoder {
    std::string schedule = "auto";
    std::optional<int64_t> memory_budget;  // bytes
    std::optional<std::string> memory_dtype;
    std::optional<std::string> spill;  // a folder
  } encoder;
  struct Batch {
    int64_t documents = 1;
    int64_t accumulation = 1;
    std::optional<int64_t> ranks_a_document;
  } batch;
  struct Optimizer {
    std::string name = "adamw";
    double learning_rate = 1e-4;
    std::vector<double> betas = {0.9, 0.999};
    double eps = 1e-8;
    double weight_decay = 0.01;
    double clip_norm = 1.0;
  } optimizer;
  struct Schedule {
    std::string name = "linear";
    int64_t warmup_steps = 0;
  } schedule;
  std::optional<int64_t> steps;  // 1000 where neither is given
  std::optional<int64_t> epochs;
  std::optional<double> time_limit;  // seconds
  std::optional<double> dropout;
  std::optional<double> attention_dropout;
  std::optional<double> activation_dropout;
  double label_smoothing = 0.0;
  struct Validation {
    int64_t every = 100;
    int64_t documents = 64;
    bool generate = true;
    int64_t num_beams = 4;
    int64_t max_length = 256;
    std::string metric = "rouge1";
  } validation;
  struct EarlyStopping {
    std::optional<int64_t> patience;  // validations; nothing: off
    double min_delta = 0.0;
  } early_stopping;
  struct Checkpoint {
    int64_t every = 100;
    int64_t keep = 2;
  } checkpoint;

  // Where each key that was given came from: "FILE:LINE" or "command line". Absent: its default.
  std::map<std::string, std::string> origin;

  // The metric of `best`: `loss` where nothing is generated.
  std::string effective_metric() const { return validation.generate ? validation.metric : "loss"; }
};

// Defaults, then the file, then `section.key=value` overrides in order. Throws Error{kConfig} with file and
// line, Error{kUnsupported} for what is not built.
TrainConfig load_config(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                        const StopToken* stop = nullptr);
// The same from text; `where` names it in errors.
TrainConfig parse_config(const std::string& yaml, const std::string& where,
                         const std::vector<std::string>& overrides);

// The whole configuration as YAML that reads back to itself; with `origins`, a comment on each line says
// where the value came from.
std::string config_to_yaml(const TrainConfig& config, bool origins);

// Every key with its value, flat: {"optimizer.name": "adamw", ...}.
Json config_to_json(const TrainConfig& config);

}  // namespace precis::train

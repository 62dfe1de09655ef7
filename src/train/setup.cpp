// What comes before the first update.
#include "train/setup.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "generate/generate.h"
#include "io/digest.h"
#include "io/model_directory.h"
#include "io/weight_files.h"
#include "memory/windows.h"
#include "nn/device.h"

namespace precis::train {

namespace {

std::string digest_of_tokenizer(const Tokenizer& tokenizer) {
  Sha256 digest;
  for (const TokenizerFile& file : tokenizer.files()) {
    digest.update(file.name);
    digest.update(sha256(file.bytes));
  }
  return digest.hex();
}

std::string digest_of_model(const std::filesystem::path& directory) {
  Sha256 digest;
  digest.update(digest_of_file(directory / "config.json", ErrorKind::kModel).sha256);
  digest.update(digest_of_tokenizer(Tokenizer::load(directory)));
  const WeightFiles weights = WeightFiles::open(directory);
  for (const WeightFile& file : weights.files()) {
    digest.update(digest_of_file(file.path(), ErrorKind::kModel).sha256);
  }
  return digest.hex();
}

void refuse_layerdrop(const models::BartConfig& model, const std::string& where) {
  for (const char* key : {"encoder_layerdrop", "decoder_layerdrop"}) {
    const auto value = model.raw.find(key);
    if (value == model.raw.end() || !value->is_number() || value->get<double>() == 0.0) continue;
    throw Error(ErrorKind::kUnsupported, {.what = std::string("training with ") + key + " is not built",
                                          .where = where,
                                          .expected = "0",
                                          .found = value->dump(),
                                          .hint = "set it to 0 in config.json"});
  }
}

void tell_counts(const Dataset& data, const char* set, const LogSink& sink) {
  const evaluate::ExampleCounts& counts = data.counts;
  if (counts.skipped_lines > 0) {
    log(sink, LogLevel::kWarning,
        std::string(set) + ": " + std::to_string(counts.skipped_lines) +
            " bad lines are left out, the last one " + data.last_skip_reason);
  }
  evaluate::tell_counts(counts, set, sink);
  if (!data.denoise) return;
  if (data.empty_documents > 0) {
    log(sink, LogLevel::kWarning,
        std::string(set) + ": " + std::to_string(data.empty_documents) + " empty documents are left out");
  }
  log(sink, LogLevel::kInfo,
      std::string(set) + ": " + std::to_string(counts.examples) + " pieces of up to " +
          std::to_string(data.longest_document) + " tokens, of " + std::to_string(data.documents) +
          " documents");
}

}  // namespace

int64_t last_step(const TrainConfig& config, int64_t rows, int64_t step, SamplerState place) {
  if (config.steps) return *config.steps;
  const int64_t documents = config.batch.documents * config.batch.accumulation;
  const int64_t left = std::max<int64_t>(0, (*config.epochs - place.epoch) * rows - place.position);
  return step + (left + documents - 1) / documents;
}

memory::StepDropout dropout_rates(const TrainConfig& config, const models::BartConfig& model) {
  const bool off = config.dropout == 0.0;
  memory::StepDropout rates;
  rates.hidden = config.dropout.value_or(model.dropout);
  rates.attention = config.attention_dropout.value_or(off ? 0.0 : model.attention_dropout);
  rates.activation = config.activation_dropout.value_or(off ? 0.0 : model.activation_dropout);
  rates.seed = static_cast<uint64_t>(config.seed);
  return rates;
}

Generation make_generation(const TrainConfig& config, const std::filesystem::path& start,
                           const models::BartConfig& model, const LogSink& sink) {
  const std::optional<Json> own = read_generation_config(start);
  Json json = own.value_or(Json::object());
  if (!own) {  // an older model keeps its generation settings in config.json
    for (const char* key : generate::kGenerationKeys) {
      const auto value = model.raw.find(key);
      if (value != model.raw.end() && !value->is_null()) json[key] = *value;
    }
  }
  for (const char* key : {"max_new_tokens", "min_new_tokens", "min_length", "transformers_version"}) {
    json.erase(key);
  }
  const auto set_missing = [&](const char* key, const Json& value) {
    if (!json.contains(key) || json[key].is_null()) json[key] = value;
  };
  set_missing("bos_token_id", model.bos_token_id);
  set_missing("pad_token_id", model.pad_token_id);
  set_missing("eos_token_id", model.to_json()["eos_token_id"]);
  set_missing("decoder_start_token_id", model.decoder_start_token_id);
  json["num_beams"] = config.validation.num_beams;
  if (config.validation.num_beams == 1) {  // transformers refuses to save these without beams
    json.erase("early_stopping");
    json.erase("length_penalty");
  }
  // The default length asks for no more than the model has.
  const bool given = config.origin.count("validation.max_length") > 0;
  json["max_length"] = given ? config.validation.max_length
                             : std::min(config.validation.max_length, model.max_position_embeddings);
  const std::string where =
      given ? config.origin.at("validation.max_length") + ": validation" : start.string();
  try {
    return {json, generate::resolve_generation_config(json, where, model, Json::object(), sink)};
  } catch (const Error& error) {
    // What the configuration names is not the model's fault.
    if (!given || error.kind() != ErrorKind::kModel) throw;
    throw Error(ErrorKind::kConfig, error.details());
  }
}

std::optional<at::ScalarType> memory_type(const TrainConfig& config) {
  if (!config.encoder.memory_dtype) return std::nullopt;
  if (*config.encoder.memory_dtype == "float64") return at::kDouble;
  return *config.encoder.memory_dtype == "float32" ? at::kFloat : at::kBFloat16;
}

OptimizerOptions optimizer_options(const TrainConfig::Optimizer& config) {
  OptimizerOptions options;
  options.name = optimizer_name(config.name);
  options.betas = {config.betas[0], config.betas[1]};
  options.eps = config.eps;
  options.weight_decay = config.weight_decay;
  return options;
}

Setup prepare(const TrainConfig& config, const std::filesystem::path& start, const LogSink& sink,
              const StopToken* stop, const ReadingProgress& progress) {
  const bool resumed = start != config.model;
  std::error_code unreadable;
  const bool gone = resumed && !std::filesystem::exists(config.model, unreadable);
  if (!gone) read_model_config(config.model);  // tells a missing directory from one that is no model
  const models::BartConfig model = models::BartConfig::load(start);
  refuse_layerdrop(model, start.string() + "/config.json");
  Tokenizer tokenizer = Tokenizer::load(start);
  Setup setup{.tokenizer = tokenizer,
              .tokenizer_digest = digest_of_tokenizer(tokenizer),
              .model_config = model,
              .model_digest = gone ? "missing" : digest_of_model(config.model),
              .training = {},
              .validation = {},
              .generation = make_generation(config, start, model, sink),
              .window = config.window.value_or(model.max_position_embeddings)};
  memory::piece_length(model, setup.window, 0);  // refuses a window before the data is read
  if (setup.window < model.max_position_embeddings) {
    log(sink, LogLevel::kInfo,
        "windows of " + std::to_string(setup.window) + " positions, where the model has " +
            std::to_string(model.max_position_embeddings) + ": give summarize and evaluate --window " +
            std::to_string(setup.window));
  }
  setup.training = load_dataset(
      config.data.train, config, tokenizer, model,
      {.window = setup.window, .limit = 0, .keep_references = false, .stop = stop, .progress = progress});
  tell_counts(setup.training, "training data", sink);
  if (!config.data.validation.empty()) {
    setup.validation = load_dataset(config.data.validation, config, tokenizer, model,
                                    {.use = DatasetUse::kValidation,
                                     .window = setup.window,
                                     .limit = config.validation.documents,
                                     .keep_references = config.validation.generate,
                                     .stop = stop,
                                     .progress = {}});
    tell_counts(*setup.validation, "validation data", sink);
  }
  return setup;
}

namespace {

memory::PlanData plan_data(const Dataset& set, int64_t documents) {
  return {.longest_document = set.longest_document,
          .longest_query = set.longest_query,
          .longest_target = set.longest_target,
          .documents = documents};
}

}  // namespace

memory::MemoryPlan make_plan(const TrainConfig& config, const Setup& setup, const models::BartModel& model,
                             const RankGrid& ranks, std::optional<int64_t> step_bytes) {
  memory::PlanRequest request;
  request.schedule = memory::parse_schedule(config.encoder.schedule);
  request.step_bytes = step_bytes;
  request.cost = {.window = setup.window,
                  .attention_dropout = dropout_rates(config, setup.model_config).attention > 0,
                  .memory_type = memory_type(config),
                  .may_spill = true};
  const int64_t an_update = config.batch.documents * config.batch.accumulation;
  const int64_t of_a_group = (an_update + ranks.groups() - 1) / ranks.groups();
  request.training = plan_data(setup.training, std::min(config.batch.documents, of_a_group));
  request.training.ranks = ranks.group().size();
  request.processes = ranks.all().on_this_host();
  if (model.device().is_cuda()) {  // that many share a GPU
    request.processes = (request.processes + nn::gpu_count() - 1) / nn::gpu_count();
  }
  if (setup.validation) {
    request.validation = plan_data(*setup.validation, setup.validation->counts.examples);
    if (config.validation.generate) {
      const generate::GenerationConfig& generation = setup.generation.config;
      request.generation = {generate::documents_at_once(generation), generation.num_beams,
                            generation.max_length};
    }
  }
  request.optimizer_states = state_tensors(optimizer_options(config.optimizer).name);
  request.budget = config.encoder.memory_budget;
  return memory::plan_memory(model, request);
}

}  // namespace precis::train

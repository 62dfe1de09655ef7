// From a configuration and a tokenizer to a model's directory.
#include "train/fresh_model.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "generate/generation_config.h"
#include "io/atomic_directory.h"
#include "io/model_directory.h"
#include "models/bart/bart.h"
#include "train/model_writer.h"

namespace precis::train {

namespace {

void default_token(InitConfig& config, const char* key, std::optional<int64_t> id, const char* token) {
  if (config.model.contains(key)) return;
  if (!id) {
    throw Error(ErrorKind::kConfig, {.what = "the tokenizer has no " + std::string(token) + " token",
                                     .where = config.tokenizer,
                                     .hint = "set model." + std::string(key)});
  }
  config.model[key] = *id;
}

// Puts in what follows from the tokenizer.
void complete_tokens(InitConfig& config, const Tokenizer& tokenizer) {
  default_token(config, "pad_token_id", tokenizer.pad(), "padding");
  default_token(config, "bos_token_id", tokenizer.bos(), "BOS");
  default_token(config, "eos_token_id", tokenizer.eos(), "EOS");
  const Json eos = config.model["eos_token_id"];
  const Json first = eos.is_array() && !eos.empty() ? eos.front() : eos;
  for (const char* key : {"decoder_start_token_id", "forced_eos_token_id"}) {
    if (!config.model.contains(key)) config.model[key] = first;
  }
  if (!config.model.contains("vocab_size")) config.model["vocab_size"] = tokenizer.id_limit();
}

// The place of the key that an error of the model's configuration is about.
std::string place_of(const InitConfig& config, const Error& error, const std::string& otherwise) {
  for (const auto& [key, where] : config.where) {
    const std::string name = key.substr(key.find('.') + 1);
    const std::string& what = error.details().what;
    if (what.ends_with(" " + name) || what.ends_with(" '" + name + "'")) return where + ": " + key;
  }
  return otherwise;
}

// What config.json's own reader refuses is here a mistake in the configuration.
template <typename Work>
auto as_configuration(const InitConfig& config, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kModel) throw;
    ErrorDetails details = error.details();
    details.where = place_of(config, error, details.where.empty() ? config.file + ": model" : details.where);
    throw Error(ErrorKind::kConfig, details);
  }
}

// The spread of fresh weights that keeps activations and logits near unit variance, to four digits behind the
// point. docs/decisions/0006-fresh-weights.md says why this is not transformers' 0.02.
double default_init_std(int64_t d_model) {
  return std::round(1e4 / std::sqrt(static_cast<double>(d_model))) / 1e4;
}

models::BartConfig model_config(InitConfig& config, const Tokenizer& tokenizer) {
  const auto parse = [&] {
    return as_configuration(
        config, [&] { return models::BartConfig::from_json(config.model, config.file + ": model"); });
  };
  models::BartConfig model = parse();
  if (!config.model.contains("init_std")) {
    config.model["init_std"] = default_init_std(model.d_model);
    model = parse();
  }
  if (model.vocab_size < tokenizer.id_limit()) {
    throw Error(ErrorKind::kConfig, {.what = "the vocabulary is smaller than the tokenizer's",
                                     .where = config.where.at("model.vocab_size") + ": model.vocab_size",
                                     .expected = "at least " + std::to_string(tokenizer.id_limit()),
                                     .found = std::to_string(model.vocab_size),
                                     .hint = "leave vocab_size out to have what the tokenizer needs"});
  }
  return model;
}

Json generation_config(const InitConfig& config, const models::BartConfig& model) {
  // Refuses what is wrong or not built before anything is written.
  as_configuration(config, [&] {
    return generate::resolve_generation_config(model.raw, config.file + ": model", model, Json::object(), {});
  });
  Json values = {{"bos_token_id", model.bos_token_id},
                 {"decoder_start_token_id", model.decoder_start_token_id},
                 {"eos_token_id", model.to_json()["eos_token_id"]},
                 {"pad_token_id", model.pad_token_id}};
  for (const char* key : generate::kGenerationKeys) {
    if (model.raw.contains(key)) values[key] = model.raw[key];
  }
  return values;
}

}  // namespace

FreshModel make_fresh_model(InitConfig config, const Tokenizer& tokenizer) {
  complete_tokens(config, tokenizer);
  FreshModel fresh;
  fresh.model = model_config(config, tokenizer);
  fresh.generation = generation_config(config, fresh.model);
  return fresh;
}

void check_weights_fit(const models::BartConfig& model, at::ScalarType dtype, std::optional<int64_t> budget) {
  const int64_t rows = std::max({model.vocab_size, model.max_position_embeddings + 2, model.d_model,
                                 model.encoder_ffn_dim, model.decoder_ffn_dim});
  // Each weight is drawn in float64 before it gets its type.
  const int64_t drawn = rows * model.d_model * static_cast<int64_t>(sizeof(double));
  const int64_t needed = model.parameter_count() * static_cast<int64_t>(c10::elementSize(dtype)) + drawn;
  const int64_t limit = budget.value_or(int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE));
  if (needed <= limit) return;
  throw Error(ErrorKind::kBudget,
              {.what = "the weights don't fit into memory",
               .where = budget ? "--memory-budget" : "",
               .expected = "at most " + format_bytes(limit),
               .found = std::to_string(model.parameter_count()) + " parameters, " + format_bytes(needed)});
}

void write_fresh_model(FileSystem& files, const std::filesystem::path& directory, const FreshModel& fresh,
                       const Tokenizer& tokenizer, uint64_t seed, at::ScalarType dtype,
                       const StopToken* stop) {
  make_directories(files, parent_directory(directory));
  AtomicDirectory staged(files, directory);
  const models::BartModel model = models::BartModel::initialize(fresh.model, seed, dtype);
  throw_if_stopped(stop);
  write_model(staged, model, pretty_json(fresh.generation), &tokenizer);
  throw_if_stopped(stop);
  staged.commit({{"seed", seed}});
}

}  // namespace precis::train

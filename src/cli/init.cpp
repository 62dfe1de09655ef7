// precis init: a model directory with fresh weights, from a configuration and a tokenizer.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>

#include "base/bytes.h"
#include "base/file_system.h"
#include "base/suggest.h"
#include "cli/program.h"
#include "generate/generation_config.h"
#include "io/atomic_directory.h"
#include "io/model_directory.h"
#include "io/yaml.h"
#include "models/model_files.h"
#include "text/tokenizer.h"

namespace precis::cli {

namespace {

// What transformers' BartConfig knows besides, so that it is no slip of the pen.
constexpr const char* kOtherModelKeys[] = {"hidden_size",       "num_hidden_layers", "num_attention_heads",
                                           "encoder_layerdrop", "decoder_layerdrop", "classifier_dropout",
                                           "use_cache",         "is_decoder",        "num_labels"};

struct InitOptions {
  CommonOptions common;
  std::string config;
  std::string out;
  std::vector<std::string> overrides;
};

struct InitConfig {
  Json model = Json::object();
  std::string tokenizer;
  uint64_t seed = 1;
  std::map<std::string, std::string> where;  // "model.d_model" -> "init.yaml:3"
};

std::vector<std::string> model_keys() {
  std::vector<std::string> names(std::begin(generate::kGenerationKeys), std::end(generate::kGenerationKeys));
  names.insert(names.end(), std::begin(kOtherModelKeys), std::end(kOtherModelKeys));
  const Json known = models::BartConfig().to_json();
  for (const auto& [key, value] : known.items()) names.push_back(key);
  return names;
}

[[noreturn]] void unknown_key(const std::string& key, const std::string& where) {
  const std::vector<std::string> of_model = model_keys();
  std::string near;
  if (std::find(of_model.begin(), of_model.end(), key) != of_model.end()) {
    near = "model." + key;
  } else {
    near = nearest_name(key, {"model", "tokenizer", "seed"});
  }
  throw Error(ErrorKind::kConfig,
              {.what = "unknown key '" + key + "'",
               .where = where,
               .expected = "model, tokenizer and seed",
               .hint = near.empty() ? "precis init --help has an example" : "did you mean '" + near + "'?"});
}

void set_model_key(InitConfig& config, const std::string& key, Json value, const std::string& where) {
  config.model[key] = std::move(value);
  config.where["model." + key] = where;
}

void set_model(InitConfig& config, const YamlNode& value, const std::string& where) {
  if (value.kind != YamlNode::Kind::kMapping) {
    throw Error(ErrorKind::kConfig, {.what = "'model' is a section",
                                     .where = where,
                                     .expected = "keys of a config.json with values",
                                     .found = describe(value)});
  }
  for (const YamlMember& member : value.members) {
    set_model_key(config, member.key, to_json(member.value), *value.file + ":" + std::to_string(member.line));
  }
}

void set_key(InitConfig& config, const std::string& key, const YamlNode& value, const std::string& where) {
  constexpr std::string_view kModelPrefix = "model.";
  if (key == "model") {
    set_model(config, value, where);
  } else if (key == "tokenizer") {
    config.tokenizer = yaml_string(value, key);
  } else if (key == "seed") {
    const int64_t seed = yaml_integer(value, key);
    if (seed < 0) {
      throw Error(ErrorKind::kConfig, {.what = "bad value for 'seed'",
                                       .where = where,
                                       .expected = "0 or more",
                                       .found = describe(value)});
    }
    config.seed = static_cast<uint64_t>(seed);
  } else if (key.starts_with(kModelPrefix) && key.size() > kModelPrefix.size()) {
    set_model_key(config, key.substr(kModelPrefix.size()), to_json(value), where);
  } else {
    unknown_key(key, where);
  }
}

InitConfig read_config(const InitOptions& options) {
  const YamlNode file = read_yaml_file(options.config);
  if (file.kind != YamlNode::Kind::kMapping) {
    throw Error(ErrorKind::kConfig, {.what = "not a configuration",
                                     .where = options.config,
                                     .expected = "a mapping with model and tokenizer",
                                     .found = describe(file)});
  }
  InitConfig config;
  for (const YamlMember& member : file.members) {
    set_key(config, member.key, member.value, options.config + ":" + std::to_string(member.line));
  }
  for (const std::string& text : options.overrides) {
    const auto [key, value] = split_override(text);
    set_key(config, key, parse_yaml(value, kCommandLine), kCommandLine);
  }
  for (const auto& [key, missing] :
       {std::pair("model", config.model.empty()), std::pair("tokenizer", config.tokenizer.empty())}) {
    if (!missing) continue;
    throw Error(ErrorKind::kConfig, {.what = "'" + std::string(key) + "' is missing",
                                     .where = options.config,
                                     .hint = "precis init --help has an example"});
  }
  return config;
}

// Unknown keys are kept, but one that is nearly a known one is probably meant to be that.
void warn_of_slips(const InitConfig& config) {
  const std::vector<std::string> known = model_keys();
  for (const auto& [key, value] : config.model.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest_name(key, known);
    if (near.empty()) continue;
    log(log_sink(), LogLevel::kWarning,
        config.where.at("model." + key) + ": 'model." + key +
            "' is kept in config.json but means nothing to a BART; did you mean '" + near + "'?");
  }
}

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
void complete(InitConfig& config, const Tokenizer& tokenizer) {
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
auto as_configuration(const InitConfig& config, const std::string& file, const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kModel) throw;
    ErrorDetails details = error.details();
    details.where = place_of(config, error, details.where.empty() ? file + ": model" : details.where);
    throw Error(ErrorKind::kConfig, details);
  }
}

// The spread of fresh weights that keeps activations and logits near unit variance, to four digits behind the
// point. docs/decisions/0006-fresh-weights.md says why this is not transformers' 0.02.
double default_init_std(int64_t d_model) {
  return std::round(1e4 / std::sqrt(static_cast<double>(d_model))) / 1e4;
}

models::BartConfig model_config(InitConfig& config, const std::string& file, const Tokenizer& tokenizer) {
  const auto parse = [&] {
    return as_configuration(config, file,
                            [&] { return models::BartConfig::from_json(config.model, file + ": model"); });
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

Json generation_config(const InitConfig& config, const std::string& file, const models::BartConfig& model) {
  // Refuses what is wrong or not built before anything is written.
  as_configuration(config, file, [&] {
    return generate::resolve_generation_config(model.raw, file + ": model", model, Json::object(), {});
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

// Before anything is allocated: whether the weights fit the budget, or else the machine.
void check_memory(const models::BartConfig& model, const CommonOptions& common) {
  const int64_t element = static_cast<int64_t>(c10::elementSize(scalar_type(common)));
  const int64_t rows = std::max({model.vocab_size, model.max_position_embeddings + 2, model.d_model,
                                 model.encoder_ffn_dim, model.decoder_ffn_dim});
  // Each weight is drawn in float64 before it gets its type.
  const int64_t drawn = rows * model.d_model * static_cast<int64_t>(sizeof(double));
  const int64_t needed = model.parameter_count() * element + drawn;
  const bool given = !common.memory_budget.empty();
  const int64_t limit = given ? parse_bytes(common.memory_budget, "--memory-budget", ErrorKind::kUsage)
                              : int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  if (needed <= limit) return;
  throw Error(ErrorKind::kBudget,
              {.what = "the weights don't fit into memory",
               .where = given ? "--memory-budget" : "",
               .expected = "at most " + format_bytes(limit),
               .found = std::to_string(model.parameter_count()) + " parameters, " + format_bytes(needed)});
}

void init(const InitOptions& options) {
  apply_common_options(options.common);
  refuse_cuda(options.common, "init");
  refuse_existing(options.out);
  InitConfig config = read_config(options);
  const Tokenizer tokenizer = Tokenizer::load(config.tokenizer);
  complete(config, tokenizer);
  const models::BartConfig model_settings = model_config(config, options.config, tokenizer);
  const Json generation = generation_config(config, options.config, model_settings);
  warn_of_slips(config);
  check_memory(model_settings, options.common);

  FileSystem& files = posix_file_system();
  make_directories(files, parent_directory(options.out));
  AtomicDirectory directory(files, options.out);
  const models::BartModel model =
      models::BartModel::initialize(model_settings, config.seed, scalar_type(options.common));
  throw_if_stopped(&stop_token());
  directory.write("config.json", pretty_json(models::saved_config(model)));
  directory.write("generation_config.json", pretty_json(generation));
  for (const TokenizerFile& file : tokenizer.files()) directory.write(file.name, file.bytes);
  models::write_weights(directory.files(), model, directory.stage() / "model.safetensors");
  throw_if_stopped(&stop_token());
  directory.commit({{"seed", config.seed}});
  log(log_sink(), LogLevel::kInfo,
      options.out + ": " + std::to_string(model_settings.parameter_count()) + " fresh parameters, " +
          options.common.dtype.value_or("float32") + ", seed " + std::to_string(config.seed) + ", init_std " +
          dump_json(config.model["init_std"]));
}

}  // namespace

void add_init(CLI::App& app) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command = app.add_subcommand("init", "Make a model directory with fresh weights");
  command->add_option("config", options->config, "YAML with model, tokenizer and seed")->required();
  command->add_option("out", options->out, "Directory to write; must not exist")->required();
  command->add_option("overrides", options->overrides, "section.key=value, in place of the file's");
  add_common_options(*command, options->common);
  command->footer(
      "The configuration:\n"
      "  model: {model_type: bart, d_model: 256, encoder_layers: 4, ...}   the keys of a config.json\n"
      "  tokenizer: DIR\n"
      "  seed: 1\n"
      "vocab_size and the ids of the special tokens default to the tokenizer's, init_std to 1 / "
      "sqrt(d_model),\n"
      "every other key of a BART to transformers' BartConfig. The same seed gives the same bytes. --dtype "
      "is\n"
      "the type of the weights.\n"
      "Example: precis init small.yaml models/small model.d_model=128 seed=7");
  command->callback([options] { init(*options); });
}

}  // namespace precis::cli

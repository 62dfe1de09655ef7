// Reading the configuration of a fresh model.
#include "train/init_config.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/suggest.h"
#include "generate/generation_config.h"
#include "io/yaml.h"
#include "models/bart/bart_config.h"

namespace precis::train {

namespace {

// What transformers' BartConfig knows besides, so that it is no slip of the pen.
constexpr const char* kOtherModelKeys[] = {"hidden_size",       "num_hidden_layers", "num_attention_heads",
                                           "encoder_layerdrop", "decoder_layerdrop", "classifier_dropout",
                                           "use_cache",         "is_decoder",        "num_labels"};

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

}  // namespace

InitConfig load_init_config(const std::string& file, const std::vector<std::string>& overrides,
                            const StopToken* stop) {
  const YamlNode root = read_yaml_file(file, stop);
  if (root.kind != YamlNode::Kind::kMapping) {
    throw Error(ErrorKind::kConfig, {.what = "not a configuration",
                                     .where = file,
                                     .expected = "a mapping with model and tokenizer",
                                     .found = describe(root)});
  }
  InitConfig config;
  config.file = file;
  for (const YamlMember& member : root.members) {
    set_key(config, member.key, member.value, file + ":" + std::to_string(member.line));
  }
  for (const std::string& text : overrides) {
    const auto [key, value] = split_override(text);
    set_key(config, key, parse_yaml(value, kCommandLine), kCommandLine);
  }
  for (const auto& [key, missing] :
       {std::pair("model", config.model.empty()), std::pair("tokenizer", config.tokenizer.empty())}) {
    if (!missing) continue;
    throw Error(ErrorKind::kConfig, {.what = "'" + std::string(key) + "' is missing",
                                     .where = file,
                                     .hint = "precis init --help has an example"});
  }
  return config;
}

void warn_of_slips(const InitConfig& config, const LogSink& sink) {
  const std::vector<std::string> known = model_keys();
  for (const auto& [key, value] : config.model.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest_name(key, known);
    if (near.empty()) continue;
    log(sink, LogLevel::kWarning,
        config.where.at("model." + key) + ": 'model." + key +
            "' is kept in config.json but means nothing to a BART; did you mean '" + near + "'?");
  }
}

}  // namespace precis::train

// Reading, checking and printing the configuration of `precis train`.
#include "train/config.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/suggest.h"
#include "io/yaml.h"
#include "train/schema.h"

namespace precis::train {

namespace {

constexpr int64_t kMostUpdateDocuments = 1'000'000;

// "optimizer" of "optimizer.eps"; empty for a key at the top.
std::string section_of(const std::string& name) {
  const size_t dot = name.find('.');
  return dot == std::string::npos ? "" : name.substr(0, dot);
}

bool is_section(const std::string& name) {
  return std::any_of(config_schema().begin(), config_schema().end(),
                     [&](const ConfigKey& key) { return section_of(key.name) == name; });
}

// Keys and sections beside which `name` would stand, and full names for a key put into the wrong section.
std::string suggestion(const std::string& name) {
  std::vector<std::string> names;
  std::set<std::string> sections;
  for (const ConfigKey& key : config_schema()) {
    names.push_back(key.name);
    if (!section_of(key.name).empty()) sections.insert(section_of(key.name));
  }
  names.insert(names.end(), sections.begin(), sections.end());
  const std::string last = name.substr(name.rfind('.') + 1);
  for (const std::string& candidate : names) {
    if (candidate.substr(candidate.rfind('.') + 1) == last) return candidate;
  }
  return nearest_name(name, names);
}

const ConfigKey& known_key(const std::string& name, const std::string& where) {
  if (const ConfigKey* key = find_key(name)) return *key;
  const std::string near = suggestion(name);
  throw Error(ErrorKind::kConfig,
              {.what = "unknown key '" + name + "'",
               .where = where,
               .hint = near.empty() ? "precis train --help lists the keys" : "did you mean '" + near + "'?"});
}

// `found` is the value as it was written.
void set_key(TrainConfig& config, const std::string& name, const Json& value, const std::string& where,
             const std::string& found) {
  const ConfigKey& key = known_key(name, where);
  if (!key.set(config, value)) {
    throw Error(
        ErrorKind::kConfig,
        {.what = "bad value for '" + name + "'", .where = where, .expected = key.type, .found = found});
  }
  config.origin[name] = where;
}

void apply(TrainConfig& config, const YamlNode& node, const std::string& prefix) {
  for (const YamlMember& member : node.members) {
    const std::string name = prefix.empty() ? member.key : prefix + "." + member.key;
    const std::string where = *node.file + ":" + std::to_string(member.line);
    if (is_section(name)) {
      if (member.value.kind != YamlNode::Kind::kMapping) {
        throw Error(ErrorKind::kConfig, {.what = "'" + name + "' is a section",
                                         .where = where,
                                         .expected = "keys with values",
                                         .found = describe(member.value)});
      }
      apply(config, member.value, name);
    } else {
      if (const auto before = config.origin.find(name); before != config.origin.end()) {
        throw Error(ErrorKind::kConfig, {.what = "'" + name + "' is set twice",
                                         .where = where,
                                         .hint = "the first one is at " + before->second});
      }
      set_key(config, name, to_json(member.value), where, describe(member.value));
    }
  }
}

// A length of the run on the command line takes the place of the file's other one.
void drop_unless_overridden(TrainConfig& config, const std::string& name) {
  const auto origin = config.origin.find(name);
  if (origin == config.origin.end() || origin->second == kCommandLine) return;
  config.origin.erase(origin);
  find_key(name)->set(config, Json());
}

// `section.key=value`; the value is YAML, but a text needs no quotes and a single file no brackets.
void apply_override(TrainConfig& config, const std::string& text) {
  const auto [name, value_text] = split_override(text);
  const Json initial = known_key(name, kCommandLine).get(TrainConfig());
  Json value = initial.is_string() ? Json(value_text) : to_json(parse_yaml(value_text, kCommandLine));
  if (initial.is_array() && value.is_string()) value = Json::array({value});
  if (name == "steps" && !value.is_null()) drop_unless_overridden(config, "epochs");
  if (name == "epochs" && !value.is_null()) drop_unless_overridden(config, "steps");
  set_key(config, name, value, kCommandLine, "'" + value_text + "'");
}

Error config_error(const TrainConfig& config, const std::string& key, ErrorDetails details,
                   ErrorKind kind = ErrorKind::kConfig) {
  const auto origin = config.origin.find(key);
  details.where = origin == config.origin.end() ? key : origin->second + ": " + key;
  return Error(kind, std::move(details));
}

void require_built(const TrainConfig& config, const std::string& key, const std::string& value,
                   const std::vector<std::string>& built) {
  if (std::find(built.begin(), built.end(), value) != built.end()) return;
  std::string expected;
  for (const std::string& choice : built) expected += (expected.empty() ? "" : ", ") + choice;
  throw config_error(config, key, {.what = "not built yet", .expected = expected, .found = value},
                     ErrorKind::kUnsupported);
}

// What only the objective summarization reads.
const std::vector<std::string> kOfSummaries = {"data.summary_field", "data.query_field",
                                               "data.on_empty_summary", "target_overflow"};

// A key that the objective has no use for is a mistake, unless it says what it says by default.
void refuse_unread(const TrainConfig& config) {
  const bool denoise = config.objective == "denoise";
  const TrainConfig defaults;
  for (const ConfigKey& key : config_schema()) {
    const bool of_noise = section_of(key.name) == "denoise";
    const bool of_summaries = std::count(kOfSummaries.begin(), kOfSummaries.end(), key.name) > 0;
    if (!(denoise ? of_summaries : of_noise)) continue;
    if (config.origin.count(key.name) == 0 || key.get(config) == key.get(defaults)) continue;
    throw config_error(
        config, key.name,
        {.what = "the objective " + config.objective + " has no use for it", .hint = "leave it out"});
  }
}

void check(TrainConfig& config, const std::string& where) {
  for (const ConfigKey& key : config_schema()) {
    if (key.required && config.origin.count(key.name) == 0) {
      throw Error(ErrorKind::kConfig,
                  {.what = "'" + key.name + "' is missing", .where = where, .expected = key.type});
    }
  }
  if (config.data.train.empty()) {
    throw config_error(config, "data.train", {.what = "no training files", .expected = "at least one"});
  }
  if (config.steps && config.epochs) {
    throw config_error(config, "epochs",
                       {.what = "both steps and epochs are given",
                        .expected = "one of them",
                        .found = "steps at " + config.origin["steps"]});
  }
  if (!config.steps && !config.epochs) config.steps = 1000;
  const int64_t documents = config.batch.documents * config.batch.accumulation;
  if (documents > kMostUpdateDocuments) {
    throw config_error(
        config, "batch.accumulation",
        {.what = "too many documents in one update",
         .expected = "batch.documents * batch.accumulation <= " + std::to_string(kMostUpdateDocuments),
         .found = std::to_string(documents)});
  }
  if (config.early_stopping.patience && (config.data.validation.empty() || config.validation.every == 0)) {
    throw config_error(config, "early_stopping.patience",
                       {.what = "nothing is validated on the way",
                        .expected = "data.validation, and validation.every from 1",
                        .hint = "early_stopping.patience=null is off"});
  }
  require_built(config, "objective", config.objective, {"summarization", "denoise"});
  refuse_unread(config);
  if (config.objective == "denoise") {
    if (config.max_target_tokens < 3) {
      throw config_error(config, "max_target_tokens",
                         {.what = "no room for a piece of text between BOS and EOS",
                          .expected = "at least 3",
                          .found = std::to_string(config.max_target_tokens)});
    }
    // What is restored is judged by its loss.
    if (config.validation.generate && config.origin.count("validation.generate") > 0) {
      throw config_error(config, "validation.generate",
                         {.what = "denoise writes no summaries", .expected = "false", .found = "true"});
    }
    config.validation.generate = false;
  }
  require_built(config, "encoder.schedule", config.encoder.schedule,
                {"auto", "kept", "cached", "streamed", "two_sweep"});
}

TrainConfig build(const YamlNode& file, const std::string& where, const std::vector<std::string>& overrides) {
  if (file.kind == YamlNode::Kind::kScalar || file.kind == YamlNode::Kind::kSequence) {
    throw Error(
        ErrorKind::kConfig,
        {.what = "not a configuration", .where = where, .expected = "a mapping", .found = describe(file)});
  }
  TrainConfig config;
  apply(config, file, "");
  for (const std::string& text : overrides) apply_override(config, text);
  check(config, where);
  return config;
}

// Plain where every YAML reader takes it for a string, else quoted.
std::string yaml_text(const std::string& text) {
  static const std::set<std::string> kWords = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool plain = !text.empty() && (std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '/') &&
                     std::all_of(text.begin(), text.end(), [](unsigned char c) {
                       return c < 128 && (std::isalnum(c) || c == '_' || c == '.' || c == '/' || c == '-');
                     });
  return plain && kWords.count(lower) == 0 ? text : Json(text).dump();
}

std::string yaml_value(const Json& value) {
  if (value.is_string()) return yaml_text(value.get<std::string>());
  if (value.is_array()) {
    std::string text = "[";
    for (const Json& element : value) text += (text.size() == 1 ? "" : ", ") + yaml_value(element);
    return text + "]";
  }
  std::string text = value.dump();
  // YAML 1.1 readers take 1e-05 for a string and 1.0e-05 for a number.
  const size_t exponent = text.find('e');
  if (value.is_number_float() && exponent != std::string::npos && text.find('.') == std::string::npos) {
    text.insert(exponent, ".0");
  }
  return text;
}

}  // namespace

TrainConfig load_config(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                        const StopToken* stop) {
  return build(read_yaml_file(file, stop), file.string(), overrides);
}

TrainConfig parse_config(const std::string& yaml, const std::string& where,
                         const std::vector<std::string>& overrides) {
  return build(parse_yaml(yaml, where), where, overrides);
}

std::string config_to_yaml(const TrainConfig& config, bool origins) {
  std::string text, open;
  for (const ConfigKey& key : config_schema()) {
    const std::string section = section_of(key.name);
    if (section != open && !section.empty()) text += section + ":\n";
    open = section;
    std::string line = section.empty() ? key.name : "  " + key.name.substr(section.size() + 1);
    line += ": " + yaml_value(key.get(config));
    if (origins) {
      const auto origin = config.origin.find(key.name);
      line += "  # " + (origin == config.origin.end() ? std::string("default") : origin->second);
    }
    text += line + "\n";
  }
  return text;
}

Json config_to_json(const TrainConfig& config) {
  Json flat = Json::object();
  for (const ConfigKey& key : config_schema()) flat[key.name] = key.get(config);
  return flat;
}

}  // namespace precis::train

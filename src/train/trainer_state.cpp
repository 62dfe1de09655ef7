// trainer.json, and what a resumed run may not change.
#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/suggest.h"
#include "memory/gradient.h"
#include "train/checkpoint.h"
#include "train/schema.h"

namespace precis::train {

namespace {

constexpr int kStateVersion = 2;

[[noreturn]] void bad_field(const std::string& where, const std::string& field, const std::string& expected) {
  throw Error(ErrorKind::kModel,
              {.what = "bad or missing field '" + field + "'", .where = where, .expected = expected});
}

const Json& member(const Json& json, const char* field, const std::string& where) {
  const auto found = json.find(field);
  if (found == json.end()) bad_field(where, field, "a value");
  return *found;
}

int64_t integer(const Json& json, const char* field, const std::string& where, int64_t low = 0) {
  const Json& value = member(json, field, where);
  if (!value.is_number_integer() || value.get<int64_t>() < low) {
    bad_field(where, field, "an integer >= " + std::to_string(low));
  }
  return value.get<int64_t>();
}

double real(const Json& json, const char* field, const std::string& where) {
  const Json& value = member(json, field, where);
  if (!value.is_number()) bad_field(where, field, "a number");
  return value.get<double>();
}

std::string text(const Json& json, const char* field, const std::string& where) {
  const Json& value = member(json, field, where);
  if (!value.is_string()) bad_field(where, field, "a string");
  return value.get<std::string>();
}

std::string section_of(const std::string& name) { return name.substr(0, name.find('.')); }

// Names that --allow-change takes.
std::set<std::string> changeable_names() {
  std::set<std::string> names = {"data", "model"};
  for (const ConfigKey& key : config_schema()) {
    if (!key.guarded) continue;
    names.insert(key.name);
    names.insert(section_of(key.name));
  }
  return names;
}

}  // namespace

Json TrainerState::to_json() const {
  Json json = {{"format_version", kStateVersion},
               {"run", run},
               {"step", step},
               {"validated_step", validated_step},
               {"optimizer_steps", optimizer_steps},
               {"epoch", sampler.epoch},
               {"position", sampler.position},
               {"best", nullptr},
               {"early_stopping",
                {{"reference", nullptr},
                 {"without_improvement", early_stopping.without_improvement},
                 {"measure", early_stopping.measure}}},
               {"seconds", seconds},
               {"step_bytes", step_bytes ? Json(*step_bytes) : Json()},
               {"model_digest", model_digest},
               {"tokenizer_digest", tokenizer_digest},
               {"data_digest", data_digest},
               {"config", config}};
  if (early_stopping.reference) json["early_stopping"]["reference"] = *early_stopping.reference;
  if (best) {
    json["best"] = {{"metric", best->metric},
                    {"value", best->value},
                    {"step", best->step},
                    {"run", best->run},
                    {"measure", best->measure}};
  }
  return json;
}

TrainerState TrainerState::from_json(const Json& json, const std::string& where) {
  if (!json.is_object()) bad_field(where, "", "an object");
  if (integer(json, "format_version", where) != kStateVersion) {
    bad_field(where, "format_version", std::to_string(kStateVersion));
  }
  TrainerState state;
  state.run = text(json, "run", where);
  state.step = integer(json, "step", where);
  state.validated_step = integer(json, "validated_step", where, -1);
  state.optimizer_steps = integer(json, "optimizer_steps", where);
  state.sampler = {integer(json, "epoch", where), integer(json, "position", where)};
  const Json& best = member(json, "best", where);
  if (!best.is_null()) {
    if (!best.is_object()) bad_field(where, "best", "an object or null");
    state.best =
        BestSoFar{text(best, "metric", where), real(best, "value", where), integer(best, "step", where),
                  text(best, "run", where), text(best, "measure", where)};
  }
  // Older checkpoints have none.
  if (const auto stopping = json.find("early_stopping"); stopping != json.end()) {
    if (!stopping->is_object()) bad_field(where, "early_stopping", "an object");
    state.early_stopping.without_improvement = integer(*stopping, "without_improvement", where);
    state.early_stopping.measure = text(*stopping, "measure", where);
    if (!member(*stopping, "reference", where).is_null()) {
      state.early_stopping.reference = real(*stopping, "reference", where);
    }
  }
  state.seconds = real(json, "seconds", where);
  // Older checkpoints have none.
  if (const auto bytes = json.find("step_bytes"); bytes != json.end() && !bytes->is_null()) {
    state.step_bytes = integer(json, "step_bytes", where);
  }
  state.model_digest = text(json, "model_digest", where);
  state.tokenizer_digest = text(json, "tokenizer_digest", where);
  state.data_digest = text(json, "data_digest", where);
  state.config = member(json, "config", where);
  if (!state.config.is_object()) bad_field(where, "config", "an object");
  // A key that was not there when the checkpoint was made has meant its default.
  for (const ConfigKey& key : config_schema()) {
    if (!state.config.contains(key.name)) state.config[key.name] = key.get(TrainConfig());
  }
  return state;
}

void check_changeable(const std::vector<std::string>& given) {
  const std::set<std::string> names = changeable_names();
  for (const std::string& name : given) {
    if (names.count(name) != 0) continue;
    const std::string near = nearest_name(name, {names.begin(), names.end()});
    throw Error(ErrorKind::kUsage, {.what = "nothing that a resumed run guards",
                                    .where = "--allow-change",
                                    .found = "'" + name + "'",
                                    .hint = near.empty() ? "" : "did you mean '" + near + "'?"});
  }
}

void check_unchanged(const TrainerState& before, const TrainerState& now,
                     const std::vector<std::string>& allowed) {
  const auto is_allowed = [&](const std::string& name) {
    return std::find(allowed.begin(), allowed.end(), name) != allowed.end() ||
           std::find(allowed.begin(), allowed.end(), section_of(name)) != allowed.end();
  };
  std::string differences, flags;
  const auto compare = [&](const std::string& name, const std::string& was, const std::string& is) {
    if (was == is || is_allowed(name)) return;
    differences += (differences.empty() ? "" : "; ") + name + " was " + was + ", is " + is;
    flags += (flags.empty() ? "" : " ") + std::string("--allow-change ") + name;
  };
  for (const ConfigKey& key : config_schema()) {
    // Where the model lies does not matter, what it holds does.
    if (!key.guarded || key.name == "model") continue;
    compare(key.name, before.config.at(key.name).dump(), now.config.at(key.name).dump());
  }
  const auto short_digest = [](const std::string& digest) { return digest.substr(0, 12); };
  compare("model", short_digest(before.model_digest), short_digest(now.model_digest));
  compare("data", short_digest(before.data_digest), short_digest(now.data_digest));
  if (differences.empty()) return;
  throw Error(ErrorKind::kConfig,
              {.what = "the checkpoint was made with other settings: " + differences,
               .where = "--resume",
               .hint = "mend them, allow them (" + flags + "), or start again with --resume never"});
}

}  // namespace precis::train

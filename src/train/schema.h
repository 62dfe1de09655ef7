// One table of every key of a training configuration: it gives validation, --help, the documentation and the
// keys that a resumed run must not change.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "train/config.h"

namespace precis::train {

struct ConfigKey {
  std::string name;  // "optimizer.learning_rate"
  std::string type;  // "number > 0", "one of adamw, adam, sgd", ...: what an error says was expected
  std::string doc;
  bool nullable = false;  // `null` means unset
  bool required = false;
  // A resumed run with another value is refused unless it is allowed by name.
  bool guarded = false;
  // False where the value is no such type or out of range; the config is then unchanged.
  std::function<bool(TrainConfig&, const Json&)> set;
  std::function<Json(const TrainConfig&)> get;
};

// In the order of the file.
const std::vector<ConfigKey>& config_schema();
const ConfigKey* find_key(const std::string& name);

// "optimizer.learning_rate  number > 0, default 0.0001\n    The rate ..." for --help.
std::string schema_help();
// The same as a Markdown page.
std::string schema_markdown();

}  // namespace precis::train

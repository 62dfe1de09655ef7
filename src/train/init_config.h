// The configuration that a fresh model is made from (PRODUCT, init): `model` with the keys of a config.json,
// `tokenizer` and `seed`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/stop.h"
#include "io/json.h"

namespace precis::train {

struct InitConfig {
  Json model = Json::object();
  std::string tokenizer;  // a directory
  uint64_t seed = 1;
  std::string file;                          // what it was read from, for errors
  std::map<std::string, std::string> where;  // "model.d_model" -> "init.yaml:3"
};

// Reads a YAML file and puts `section.key=value` texts in place of its values. Throws Error{kConfig} at file
// and line; what `model` holds is not looked at.
InitConfig load_init_config(const std::string& file, const std::vector<std::string>& overrides,
                            const StopToken* stop = nullptr);

// Unknown keys of `model` are kept, but one that is nearly a known one is probably meant to be that: warns of
// it.
void warn_of_slips(const InitConfig& config, const LogSink& sink);

}  // namespace precis::train

// How a summary is searched for: transformers' GenerationConfig, resolved as its generate() does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/log.h"
#include "io/json.h"
#include "models/bart/bart_config.h"

namespace precis::generate {

// The keys of a model's configuration that decide how summaries are generated. A generation_config.json is
// read in the place of config.json, so that whoever writes one takes them along.
inline constexpr const char* kGenerationKeys[] = {
    "num_beams",  "length_penalty", "early_stopping", "no_repeat_ngram_size", "max_length",
    "min_length", "max_new_tokens", "min_new_tokens", "forced_bos_token_id",  "forced_eos_token_id"};

enum class EarlyStopping { kFalse, kTrue, kNever };

// Everything that decides the result. Lengths count the start token.
struct GenerationConfig {
  int64_t num_beams = 1;  // 1: greedy search
  double length_penalty = 1.0;
  EarlyStopping early_stopping = EarlyStopping::kFalse;
  int64_t no_repeat_ngram_size = 0;  // 0: off
  int64_t min_length = 0;            // min_new_tokens is folded in
  int64_t max_length = 21;           // max_new_tokens is folded in
  int64_t decoder_start_token_id = 2;
  std::optional<int64_t> forced_bos_token_id;
  std::vector<int64_t> forced_eos_token_id;  // empty: none
  std::vector<int64_t> eos_token_id;         // empty: only max_length ends a sequence
};

// `options` is an object under transformers' names ({"num_beams": 4}); null and missing keys are left to the
// model: its generation_config.json where there is one, else the generation keys of its config.json, else
// transformers' defaults. As there, a max_new_tokens (min_new_tokens) from anywhere wins over a max_length
// (min_length), and where no length is set it is 20 new tokens; both are said through `sink`. Throws, kUsage
// for an option and kModel for the model's files: a value of the wrong type or out of range, naming field,
// value and range; a length beyond the decoder's positions. Throws kUnsupported for a key that transformers
// would honour and that is not built. Keys that change nothing without sampling are ignored, as there.
GenerationConfig resolve_generation_config(const std::filesystem::path& model_directory,
                                           const models::BartConfig& model, const Json& options,
                                           const LogSink& sink);

// The same from the contents of a generation_config.json; `where` names it in errors.
GenerationConfig resolve_generation_config(const Json& model_values, const std::string& where,
                                           const models::BartConfig& model, const Json& options,
                                           const LogSink& sink);

}  // namespace precis::generate

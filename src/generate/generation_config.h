// How a summary is searched for: transformers' GenerationConfig, resolved as its generate() does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.h"
#include "io/json.h"
#include "models/bart/bart_config.h"

namespace precis::generate {

// The keys of a model's configuration that decide how summaries are generated. A generation_config.json is
// read in the place of config.json, so that whoever writes one takes them along.
inline constexpr const char* kGenerationKeys[] = {"num_beams",
                                                  "num_return_sequences",
                                                  "length_penalty",
                                                  "early_stopping",
                                                  "sequence_bias",
                                                  "encoder_repetition_penalty",
                                                  "repetition_penalty",
                                                  "no_repeat_ngram_size",
                                                  "encoder_no_repeat_ngram_size",
                                                  "bad_words_ids",
                                                  "max_length",
                                                  "min_length",
                                                  "max_new_tokens",
                                                  "min_new_tokens",
                                                  "forced_bos_token_id",
                                                  "forced_eos_token_id",
                                                  "exponential_decay_length_penalty",
                                                  "suppress_tokens",
                                                  "begin_suppress_tokens",
                                                  "do_sample",
                                                  "temperature",
                                                  "top_h",
                                                  "top_k",
                                                  "top_p",
                                                  "min_p",
                                                  "typical_p",
                                                  "epsilon_cutoff",
                                                  "eta_cutoff",
                                                  "renormalize_logits"};

enum class EarlyStopping { kFalse, kTrue, kNever };

// The seed of the draws where none is given.
inline constexpr uint64_t kDefaultSeed = 1;

// The distribution that tokens are drawn from, in the order its filters apply in.
struct Sampling {
  double temperature = 1.0;
  std::optional<double> top_h;
  int64_t top_k = 50;  // 0: off
  double top_p = 1.0;
  std::optional<double> min_p;
  double typical_p = 1.0;
  double epsilon_cutoff = 0.0;
  double eta_cutoff = 0.0;
  uint64_t seed = kDefaultSeed;
};

// Added to the score of the last of `ids` where a row ends with those before it.
struct SequenceBias {
  std::vector<int32_t> ids;  // at least one
  double bias = 0.0;
};

// The end's score grows by |score| * (factor ^ n - 1), n tokens after the first `start` new ones.
struct ExponentialDecay {
  int64_t start = 0;
  double factor = 1.0;
};

// Everything that decides the result. Lengths count the start token.
struct GenerationConfig {
  int64_t num_beams = 1;             // 1: greedy search, or sampling
  int64_t num_return_sequences = 1;  // 1 for greedy search, at most num_beams with beams
  double length_penalty = 1.0;
  EarlyStopping early_stopping = EarlyStopping::kFalse;
  std::vector<SequenceBias> sequence_bias;
  double encoder_repetition_penalty = 1.0;
  double repetition_penalty = 1.0;
  int64_t no_repeat_ngram_size = 0;          // 0: off
  int64_t encoder_no_repeat_ngram_size = 0;  // 0: off
  std::vector<std::vector<int32_t>> bad_words_ids;
  int64_t min_length = 0;   // min_new_tokens is folded in
  int64_t max_length = 21;  // max_new_tokens is folded in
  int64_t decoder_start_token_id = 2;
  std::optional<int64_t> forced_bos_token_id;
  std::vector<int64_t> forced_eos_token_id;  // empty: none
  std::vector<int64_t> eos_token_id;         // empty: only max_length ends a sequence
  std::optional<ExponentialDecay> exponential_decay_length_penalty;
  std::vector<int64_t> suppress_tokens;
  std::vector<int64_t> begin_suppress_tokens;
  std::optional<Sampling> sampling;  // do_sample
  bool renormalize_logits = false;

  // Rows of the decoder that a document takes.
  int64_t rows() const { return num_beams > 1 ? num_beams : num_return_sequences; }
  // Whether a rule looks at the ids that the encoder read.
  bool reads_document() const {
    return encoder_repetition_penalty != 1.0 || encoder_no_repeat_ngram_size > 0;
  }
};

// For options whose names nobody has checked yet: Error{kUsage} for one that is no setting of generation.
void check_option_names(const Json& options);

// `options` is an object under transformers' names ({"num_beams": 4}) and `seed`; null and missing keys are
// left to the model: its generation_config.json where there is one, else the generation keys of its
// config.json, else transformers' defaults. As there, a max_new_tokens (min_new_tokens) from anywhere wins
// over a max_length (min_length), and where no length is set it is 20 new tokens; both are said through
// `sink`, and that the filters of sampling do nothing without do_sample. Throws, kUsage for an option and
// kModel for the model's files: a value of the wrong type or out of range, naming field, value and range; a
// length beyond the decoder's positions. Throws kUnsupported for a key that transformers would honour and
// that is not built.
GenerationConfig resolve_generation_config(const std::filesystem::path& model_directory,
                                           const models::BartConfig& model, const Json& options,
                                           const LogSink& sink);

// The same from the contents of a generation_config.json; `where` names it in errors.
GenerationConfig resolve_generation_config(const Json& model_values, const std::string& where,
                                           const models::BartConfig& model, const Json& options,
                                           const LogSink& sink);

}  // namespace precis::generate

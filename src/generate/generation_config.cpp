// The precedence of options, generation_config.json and config.json, and the lengths made of them.
#include "generate/generation_config.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "generate/generation_values.h"
#include "generate/sampling_values.h"
#include "io/read_file.h"

namespace precis::generate {

namespace {

constexpr int64_t kMaxRows = 1024;  // of the decoder, a document
constexpr int64_t kDefaultNewTokens = 20;
constexpr int64_t kStartTokens = 1;
constexpr int64_t kMostInteger = std::numeric_limits<int32_t>::max();

EarlyStopping early_stopping(const GenerationValues& values) {
  const GenerationValues::Value value = values.find("early_stopping");
  if (value.json == nullptr) return EarlyStopping::kFalse;
  if (value.json->is_boolean()) return value.json->get<bool>() ? EarlyStopping::kTrue : EarlyStopping::kFalse;
  if (*value.json == "never") return EarlyStopping::kNever;
  values.fail("early_stopping", value, "true, false or \"never\"");
}

// The key that sets the greatest length, and what it comes to with the start token.
int64_t max_length(const GenerationValues& values, int64_t positions, const LogSink& sink) {
  const std::optional<int64_t> new_tokens = values.integer("max_new_tokens", 1, kMostInteger);
  const std::optional<int64_t> length = values.integer("max_length", kStartTokens + 1, kMostInteger);
  if (!new_tokens && !length) {
    const int64_t chosen = std::min(kDefaultNewTokens + kStartTokens, positions);
    log(sink, LogLevel::kWarning,
        "neither the options nor the model set a length: a summary ends after " +
            std::to_string(chosen - kStartTokens) + " new tokens; set max_new_tokens");
    return chosen;
  }
  const char* key = new_tokens ? "max_new_tokens" : "max_length";
  if (new_tokens && values.find("max_length").from_option && !values.find("max_new_tokens").from_option) {
    log(sink, LogLevel::kWarning, "the model's max_new_tokens takes precedence over the option max_length");
  }
  const int64_t chosen = new_tokens ? *new_tokens + kStartTokens : *length;
  // The last token is never read, so one more than the decoder's positions can be written.
  if (chosen > positions + 1) {
    values.fail(key, values.find(key), "at most " + std::to_string(new_tokens ? positions : positions + 1),
                "the decoder has " + std::to_string(positions) + " positions; give a smaller length");
  }
  return chosen;
}

int64_t min_length(const GenerationValues& values, int64_t max_length, const LogSink& sink) {
  const std::optional<int64_t> length = values.integer("min_length", 0, kMostInteger);
  const std::optional<int64_t> new_tokens = values.integer("min_new_tokens", 0, kMostInteger);
  if (new_tokens && values.find("min_length").from_option && !values.find("min_new_tokens").from_option) {
    log(sink, LogLevel::kWarning, "the model's min_new_tokens takes precedence over the option min_length");
  }
  const int64_t chosen = new_tokens ? *new_tokens + kStartTokens : length.value_or(0);
  if (chosen > max_length) {
    log(sink, LogLevel::kWarning,
        "the least length of " + std::to_string(chosen) + " is above the greatest, " +
            std::to_string(max_length) + ": generation stops at the greatest");
  }
  return chosen;
}

// Scores are float32: what they are multiplied with, divided by or raised by is to leave them finite.
constexpr double kMostFactor = 1e30;

double penalty(const GenerationValues& values, const char* key) {
  const double penalty = values.real(key).value_or(1.0);
  if (penalty < 1 / kMostFactor || penalty > kMostFactor) {
    values.fail(key, values.find(key), "a number above 0, from 1e-30 to 1e30");
  }
  return penalty;
}

double length_penalty(const GenerationValues& values, int64_t max_length) {
  const double penalty = values.real("length_penalty").value_or(1.0);
  const double factor = std::pow(static_cast<double>(max_length), penalty);
  if (factor < 1 / kMostFactor || factor > kMostFactor) {
    values.fail("length_penalty", values.find("length_penalty"),
                "a power that takes the greatest length, " + std::to_string(max_length) +
                    ", no further than 1e30 or 1e-30");
  }
  return penalty;
}

int64_t ngram_size(const GenerationValues& values, const char* key) {
  return values.integer(key, 0, kMostInteger).value_or(0);
}

// A single EOS among them is left out, as in transformers: whether a summary may end is min_length's affair.
std::vector<std::vector<int32_t>> bad_words_ids(const GenerationValues& values, int64_t last_token,
                                                const std::vector<int64_t>& eos) {
  std::vector<std::vector<int32_t>> words = values.sequences("bad_words_ids", last_token);
  const bool given = !words.empty();
  std::erase_if(words, [&](const std::vector<int32_t>& word) {
    return word.size() == 1 && std::find(eos.begin(), eos.end(), word[0]) != eos.end();
  });
  if (given && words.empty()) {
    values.fail("bad_words_ids", values.find("bad_words_ids"), "a sequence besides the eos_token_id",
                "min_length keeps a summary from ending");
  }
  return words;
}

std::vector<SequenceBias> sequence_bias(const GenerationValues& values, int64_t last_token) {
  const GenerationValues::Value value = values.find("sequence_bias");
  if (value.json == nullptr) return {};
  const auto fail = [&] {
    values.fail("sequence_bias", value,
                "a list of at least one pair of a list of ids and a number from -1e30 to 1e30");
  };
  if (!value.json->is_array() || value.json->empty()) fail();
  std::vector<SequenceBias> biases;
  for (const Json& pair : *value.json) {
    if (!pair.is_array() || pair.size() != 2 || !pair[1].is_number()) fail();
    if (!(std::abs(pair[1].get<double>()) <= kMostFactor)) fail();
    SequenceBias bias{values.sequence("sequence_bias", value, pair[0], last_token), pair[1].get<double>()};
    // The last of two for the same ids holds.
    const auto same = std::find_if(biases.begin(), biases.end(),
                                   [&](const SequenceBias& other) { return other.ids == bias.ids; });
    if (same != biases.end()) {
      same->bias = bias.bias;
    } else {
      biases.push_back(std::move(bias));
    }
  }
  return biases;
}

std::optional<ExponentialDecay> exponential_decay(const GenerationValues& values,
                                                  const GenerationConfig& config) {
  const char* key = "exponential_decay_length_penalty";
  const GenerationValues::Value value = values.find(key);
  if (value.json == nullptr) return std::nullopt;
  const Json& pair = *value.json;
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_integer() || !pair[1].is_number() ||
      pair[0] < 0 || pair[0] > kMostInteger) {
    values.fail(key, value, "a pair of an integer from 0 on and a number");
  }
  if (config.eos_token_id.empty()) values.fail(key, value, "an eos_token_id beside it");
  const ExponentialDecay decay{pair[0].get<int64_t>(), pair[1].get<double>()};
  if (!(std::abs(std::pow(decay.factor, config.max_length)) < kMostFactor)) {
    values.fail(key, value, "a factor that stays finite up to the greatest length");
  }
  return decay;
}

// A forced token that is suppressed would leave none.
void refuse_suppressed_forced(const GenerationValues& values, const GenerationConfig& config) {
  const auto suppressed = [&](int64_t token) {
    return std::find(config.suppress_tokens.begin(), config.suppress_tokens.end(), token) !=
           config.suppress_tokens.end();
  };
  const auto& ends = config.forced_eos_token_id;
  if ((config.forced_bos_token_id && suppressed(*config.forced_bos_token_id)) ||
      (!ends.empty() && std::all_of(ends.begin(), ends.end(), suppressed))) {
    values.fail("suppress_tokens", values.find("suppress_tokens"),
                "tokens besides forced_bos_token_id and forced_eos_token_id");
  }
}

// Settings that rule out every token only together, or only at times, are told by the search.
void refuse_suppressing_all(const GenerationValues& values, std::vector<int64_t> tokens, int64_t vocab_size) {
  std::sort(tokens.begin(), tokens.end());
  const auto end = std::unique(tokens.begin(), tokens.end());
  if (end - tokens.begin() < vocab_size) return;
  values.fail("suppress_tokens", values.find("suppress_tokens"), "fewer ids than the vocabulary has");
}

int64_t num_return_sequences(const GenerationValues& values, int64_t num_beams, bool sampling) {
  const int64_t count = values.integer("num_return_sequences", 1, kMaxRows).value_or(1);
  if (count > 1 && num_beams == 1 && !sampling) {
    values.fail("num_return_sequences", values.find("num_return_sequences"), "1 for greedy search",
                "num_beams above 1 or do_sample give several");
  }
  if (num_beams > 1 && count > num_beams) {
    values.fail("num_return_sequences", values.find("num_return_sequences"),
                "at most num_beams, " + std::to_string(num_beams));
  }
  return count;
}

// The object that config.json's generation keys are read from, as GenerationConfig.from_model_config does.
Json model_config_values(const Json& raw) {
  Json values = raw;
  const auto forced = raw.find("force_bos_token_to_be_generated");  // the name before forced_bos_token_id
  if (forced != raw.end() && forced->is_boolean() && forced->get<bool>()) {
    values["forced_bos_token_id"] = raw.value("bos_token_id", Json());
  }
  return values;
}

}  // namespace

GenerationConfig resolve_generation_config(const Json& model_values, const std::string& where,
                                           const models::BartConfig& model, const Json& options,
                                           const LogSink& sink) {
  if (!model_values.is_object()) {
    throw Error(ErrorKind::kModel, {.what = "not a generation configuration",
                                    .where = where,
                                    .expected = "a JSON object",
                                    .found = model_values.type_name()});
  }
  const GenerationValues values(options, model_values, where);
  const int64_t last_token = model.vocab_size - 1;
  GenerationConfig config;
  config.num_beams = values.integer("num_beams", 1, kMaxRows).value_or(1);
  values.refuse_unsupported(config.num_beams > 1);
  config.sampling = resolve_sampling(values, options, sink);
  config.num_return_sequences = num_return_sequences(values, config.num_beams, config.sampling.has_value());
  config.early_stopping = early_stopping(values);
  config.repetition_penalty = penalty(values, "repetition_penalty");
  config.encoder_repetition_penalty = penalty(values, "encoder_repetition_penalty");
  config.no_repeat_ngram_size = ngram_size(values, "no_repeat_ngram_size");
  config.encoder_no_repeat_ngram_size = ngram_size(values, "encoder_no_repeat_ngram_size");
  config.max_length = max_length(values, model.max_position_embeddings, sink);
  config.length_penalty = length_penalty(values, config.max_length);
  config.min_length = min_length(values, config.max_length, sink);
  config.forced_bos_token_id = values.integer("forced_bos_token_id", 0, last_token);
  config.forced_eos_token_id = values.integers("forced_eos_token_id", 0, last_token);
  config.eos_token_id = values.integers("eos_token_id", 0, last_token);
  config.sequence_bias = sequence_bias(values, last_token);
  config.bad_words_ids = bad_words_ids(values, last_token, config.eos_token_id);
  config.exponential_decay_length_penalty = exponential_decay(values, config);
  config.suppress_tokens = values.list("suppress_tokens", 0, last_token);
  config.begin_suppress_tokens = values.list("begin_suppress_tokens", 0, last_token);
  refuse_suppressing_all(values, config.suppress_tokens, model.vocab_size);
  refuse_suppressed_forced(values, config);
  config.renormalize_logits = values.boolean("renormalize_logits").value_or(false);
  const std::optional<int64_t> bos = values.integer("bos_token_id", 0, last_token);
  const std::optional<int64_t> start = values.integer("decoder_start_token_id", 0, last_token);
  if (!start && !bos) {
    throw Error(ErrorKind::kModel, {.what = "nothing says which token a summary starts with",
                                    .where = where,
                                    .expected = "decoder_start_token_id or bos_token_id"});
  }
  config.decoder_start_token_id = start ? *start : *bos;
  // Beam search looks at this many continuations of each beam.
  const int64_t continuations = std::max<int64_t>(2, 1 + static_cast<int64_t>(config.eos_token_id.size()));
  if (config.num_beams > 1 && continuations > model.vocab_size) {
    values.fail("eos_token_id", values.find("eos_token_id"), "fewer ids than the vocabulary has");
  }
  return config;
}

GenerationConfig resolve_generation_config(const std::filesystem::path& model_directory,
                                           const models::BartConfig& model, const Json& options,
                                           const LogSink& sink) {
  const std::filesystem::path file = model_directory / "generation_config.json";
  if (has_entry(file)) {
    return resolve_generation_config(read_json_file(file, ErrorKind::kModel), file.string(), model, options,
                                     sink);
  }
  return resolve_generation_config(model_config_values(model.raw), (model_directory / "config.json").string(),
                                   model, options, sink);
}

}  // namespace precis::generate

// Reading, checking and writing config.json of a BART.
#include "models/bart/bart_config.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "nn/activation.h"

namespace precis::models {

namespace {

constexpr int64_t kMaxVocabulary = int64_t{1} << 24;
constexpr int64_t kMaxPositions = int64_t{1} << 24;
constexpr int64_t kMaxWidth = int64_t{1} << 16;
constexpr int64_t kMaxFeedForward = int64_t{1} << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 1024;

struct IntegerField {
  const char* name;
  int64_t BartConfig::*member;
  int64_t least;
  int64_t most;
  const char* alias = nullptr;  // transformers' attribute_map; there the alias wins where both are given
};

constexpr IntegerField kIntegers[] = {
    {"vocab_size", &BartConfig::vocab_size, 1, kMaxVocabulary},
    {"max_position_embeddings", &BartConfig::max_position_embeddings, 1, kMaxPositions},
    {"d_model", &BartConfig::d_model, 1, kMaxWidth, "hidden_size"},
    {"encoder_layers", &BartConfig::encoder_layers, 1, kMaxLayers, "num_hidden_layers"},
    {"encoder_attention_heads", &BartConfig::encoder_attention_heads, 1, kMaxHeads, "num_attention_heads"},
    {"encoder_ffn_dim", &BartConfig::encoder_ffn_dim, 1, kMaxFeedForward},
    {"decoder_layers", &BartConfig::decoder_layers, 1, kMaxLayers},
    {"decoder_attention_heads", &BartConfig::decoder_attention_heads, 1, kMaxHeads},
    {"decoder_ffn_dim", &BartConfig::decoder_ffn_dim, 1, kMaxFeedForward},
};

// Each names a row of the embedding: 0 to vocab_size - 1.
constexpr IntegerField kTokens[] = {
    {"pad_token_id", &BartConfig::pad_token_id, 0, 0},
    {"bos_token_id", &BartConfig::bos_token_id, 0, 0},
    {"eos_token_id", &BartConfig::eos_token_id, 0, 0},
    {"decoder_start_token_id", &BartConfig::decoder_start_token_id, 0, 0},
};

struct RealField {
  const char* name;
  double BartConfig::*member;
  double most;
  bool below;  // the bound itself is excluded
  const char* range;
};

constexpr RealField kReals[] = {
    {"dropout", &BartConfig::dropout, 1, true, "a number from 0 to below 1"},
    {"attention_dropout", &BartConfig::attention_dropout, 1, true, "a number from 0 to below 1"},
    {"activation_dropout", &BartConfig::activation_dropout, 1, true, "a number from 0 to below 1"},
    {"init_std", &BartConfig::init_std, 100, false, "a number from 0 to 100"},
};

struct BooleanField {
  const char* name;
  bool BartConfig::*member;
};

constexpr BooleanField kBooleans[] = {
    {"scale_embedding", &BartConfig::scale_embedding},
    {"tie_word_embeddings", &BartConfig::tie_word_embeddings},
};

[[noreturn]] void fail(const std::string& where, const std::string& field, const std::string& expected,
                       const std::string& found) {
  throw Error(ErrorKind::kModel,
              {.what = "bad value of " + field, .where = where, .expected = expected, .found = found});
}

const Json* find(const Json& raw, const char* name) {
  const auto entry = name == nullptr ? raw.end() : raw.find(name);
  return entry == raw.end() ? nullptr : &*entry;
}

int64_t integer(const Json& value, const std::string& where, const char* name, int64_t least, int64_t most) {
  const bool is_integer = value.is_number_integer();
  const bool fits =
      is_integer && (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{INT64_MAX});
  const int64_t number = fits ? value.get<int64_t>() : 0;
  if (!fits || number < least || number > most) {
    fail(where, name, "a whole number from " + std::to_string(least) + " to " + std::to_string(most),
         shown(value));
  }
  return number;
}

// Generation may end at several tokens; the first of them is the one that windows and targets end with.
int64_t token(const Json& value, const std::string& where, const char* name, int64_t vocabulary) {
  if (std::string_view(name) != "eos_token_id" || !value.is_array() || value.empty()) {
    return integer(value, where, name, 0, vocabulary - 1);
  }
  for (const Json& item : value) integer(item, where, name, 0, vocabulary - 1);
  return value.front().get<int64_t>();
}

void check_heads(const BartConfig& config, const std::string& where, const char* name, int64_t heads) {
  if (config.d_model % heads == 0) return;
  fail(where, name, "a divisor of d_model = " + std::to_string(config.d_model), std::to_string(heads));
}

}  // namespace

BartConfig BartConfig::from_json(const Json& raw, const std::string& where) {
  if (!raw.is_object()) fail(where, "the configuration", "a JSON object", raw.type_name());
  const Json* type = find(raw, "model_type");
  if (type == nullptr || !type->is_string()) {
    fail(where, "model_type", "\"bart\"", type == nullptr ? "nothing" : shown(*type));
  }
  if (*type != "bart") {
    throw Error(ErrorKind::kUnsupported, {.what = "this kind of model is not built",
                                          .where = where,
                                          .expected = "model_type \"bart\"",
                                          .found = shown(*type)});
  }
  BartConfig config;
  config.raw = raw;
  for (const IntegerField& field : kIntegers) {
    const Json* alias = find(raw, field.alias);
    const char* name = alias != nullptr ? field.alias : field.name;
    const Json* value = alias != nullptr ? alias : find(raw, name);
    if (value != nullptr) config.*field.member = integer(*value, where, name, field.least, field.most);
  }
  for (const IntegerField& field : kTokens) {
    const Json* value = find(raw, field.name);
    if (value != nullptr) config.*field.member = token(*value, where, field.name, config.vocab_size);
    if (config.*field.member >= config.vocab_size) {
      fail(where, field.name, "a token below vocab_size = " + std::to_string(config.vocab_size),
           "the default " + std::to_string(config.*field.member));
    }
  }
  for (const RealField& field : kReals) {
    const Json* value = find(raw, field.name);
    if (value == nullptr) continue;
    const double number = value->is_number() ? value->get<double>() : NAN;
    if (!(number >= 0 && (field.below ? number < field.most : number <= field.most))) {
      fail(where, field.name, field.range, shown(*value));
    }
    config.*field.member = number;
  }
  for (const BooleanField& field : kBooleans) {
    const Json* value = find(raw, field.name);
    if (value == nullptr) continue;
    if (!value->is_boolean()) fail(where, field.name, "true or false", shown(*value));
    config.*field.member = value->get<bool>();
  }
  if (const Json* value = find(raw, "activation_function"); value != nullptr) {
    const std::string name = value->is_string() ? value->get<std::string>() : "";
    if (nn::find_activation(name) == nullptr) {
      std::string names;
      for (const std::string& known : nn::activation_names()) names += (names.empty() ? "" : ", ") + known;
      fail(where, "activation_function", "one of " + names, shown(*value));
    }
    config.activation_function = name;
  }
  check_heads(config, where, "encoder_attention_heads", config.encoder_attention_heads);
  check_heads(config, where, "decoder_attention_heads", config.decoder_attention_heads);
  return config;
}

BartConfig BartConfig::load(const std::filesystem::path& model_directory) {
  const std::filesystem::path path = model_directory / "config.json";
  return from_json(read_json_file(path, ErrorKind::kModel), path.string());
}

Json BartConfig::to_json() const {
  Json result = raw.is_object() ? raw : Json::object();
  // transformers takes the weights' type from here before it looks at the weights, and "dtype" is the newer
  // name.
  result.erase("torch_dtype");
  result.erase("dtype");
  result["architectures"] = {"BartForConditionalGeneration"};
  result["model_type"] = "bart";
  result["is_encoder_decoder"] = true;
  for (const IntegerField& field : kIntegers) {
    result[field.name] = this->*field.member;
    if (find(result, field.alias) != nullptr) result[field.alias] = this->*field.member;
  }
  for (const IntegerField& field : kTokens) {
    const Json* value = find(result, field.name);
    const bool is_list = value != nullptr && value->is_array() && !value->empty();
    if (!is_list || value->front() != Json(this->*field.member)) result[field.name] = this->*field.member;
  }
  for (const RealField& field : kReals) result[field.name] = this->*field.member;
  for (const BooleanField& field : kBooleans) result[field.name] = this->*field.member;
  result["activation_function"] = activation_function;
  return result;
}

int64_t BartConfig::parameter_count() const {
  const int64_t D = d_model;
  const int64_t attention = 4 * (D * D + D), norm = 2 * D;
  const auto feed_forward = [D](int64_t F) { return F * D + F + D * F + D; };
  const int64_t encoder = encoder_layers * (attention + feed_forward(encoder_ffn_dim) + 2 * norm);
  const int64_t decoder = decoder_layers * (2 * attention + feed_forward(decoder_ffn_dim) + 3 * norm);
  const int64_t embeddings = (tie_word_embeddings ? 1 : 4) * vocab_size * D;
  return embeddings + 2 * ((max_position_embeddings + 2) * D + norm) + encoder + decoder;
}

}  // namespace precis::models

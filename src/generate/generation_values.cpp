// Look-up, types and ranges of generation settings, and the table of those that are not built.
#include "generate/generation_values.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/suggest.h"
#include "generate/generation_config.h"

namespace precis::generate {

namespace {

bool is_number(const Json& value, double number) {
  return value.is_number() && value.get<double>() == number;
}
bool is_at_most(const Json& value, double number) {
  return value.is_number() && value.get<double>() <= number;
}
bool never(const Json&) { return false; }
bool is_false(const Json& value) { return value.is_boolean() && !value.get<bool>(); }
bool is_one(const Json& value) { return is_number(value, 1); }
bool is_one_or_less(const Json& value) { return is_at_most(value, 1); }
bool is_zero_or_less(const Json& value) { return is_at_most(value, 0); }
bool is_exact_cache(const Json& value) {
  return value.is_string() && value != "quantized" && value != "paged";
}

bool is_integer_within(const Json& value, int64_t least, int64_t most) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(most)) return false;
  return value.get<int64_t>() >= least && value.get<int64_t>() <= most;
}

// Where a key has a meaning in transformers 5.23.
enum class Scope { kBoth, kGreedy, kBeams };

struct UnsupportedKey {
  const char* name;
  bool (*neutral)(const Json&);  // the values that change nothing, null apart
  Scope scope = Scope::kBoth;
};

// Every key of transformers 5.23 that can change what generate() returns from an encoder-decoder, but those
// of GenerationConfig. Left out because it ignores them there: the choice of cache, of outputs and of
// compilation, and what only assisted generation reads.
constexpr UnsupportedKey kUnsupportedKeys[] = {
    {"remove_invalid_values", is_false},
    {"guidance_scale", is_one},
    {"watermarking_config", never},
    {"token_healing", is_false},
    {"max_time", never},
    {"stop_strings", never},
    {"num_beam_groups", is_one_or_less, Scope::kBeams},
    {"low_memory", is_false, Scope::kBeams},
    {"constraints", never},
    {"force_words_ids", never},
    {"penalty_alpha", is_zero_or_less, Scope::kGreedy},
    {"dola_layers", never, Scope::kGreedy},
    {"use_mtp", is_false},
    {"cache_implementation", is_exact_cache},
};

}  // namespace

GenerationValues::Value GenerationValues::find(const char* key) const {
  const auto option = options_.find(key);
  if (option != options_.end() && !option->is_null()) return {&*option, true};
  const auto model = model_.find(key);
  if (model != model_.end() && !model->is_null()) return {&*model, false};
  return {};
}

std::string GenerationValues::where_of(const char* key, const Value& value) const {
  return value.from_option ? key : where_ + ": " + key;
}

void GenerationValues::fail(const char* key, const Value& value, const std::string& expected,
                            const std::string& hint) const {
  throw Error(value.from_option ? ErrorKind::kUsage : ErrorKind::kModel,
              {.what = "a generation setting is out of range or of the wrong type",
               .where = where_of(key, value),
               .expected = expected,
               .found = value.json != nullptr ? shown(*value.json) : "nothing",
               .hint = hint});
}

std::optional<int64_t> GenerationValues::integer(const char* key, int64_t least, int64_t most) const {
  const Value value = find(key);
  if (value.json == nullptr) return std::nullopt;
  if (!is_integer_within(*value.json, least, most)) {
    fail(key, value, "an integer from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return value.json->get<int64_t>();
}

std::optional<bool> GenerationValues::boolean(const char* key) const {
  const Value value = find(key);
  if (value.json == nullptr) return std::nullopt;
  if (!value.json->is_boolean()) fail(key, value, "true or false");
  return value.json->get<bool>();
}

std::optional<double> GenerationValues::real(const char* key) const {
  const Value value = find(key);
  if (value.json == nullptr) return std::nullopt;
  if (!value.json->is_number() || !std::isfinite(value.json->get<double>()))
    fail(key, value, "a finite number");
  return value.json->get<double>();
}

std::vector<int64_t> GenerationValues::integers(const char* key, int64_t least, int64_t most) const {
  const Value value = find(key);
  if (value.json == nullptr) return {};
  if (!value.json->is_array()) return {*integer(key, least, most)};
  if (value.json->empty()) fail(key, value, "an integer, or a list of at least one");
  return list(key, least, most);
}

std::vector<int64_t> GenerationValues::list(const char* key, int64_t least, int64_t most) const {
  const Value value = find(key);
  if (value.json == nullptr) return {};
  const std::string expected =
      "a list of integers from " + std::to_string(least) + " to " + std::to_string(most);
  if (!value.json->is_array()) fail(key, value, expected);
  std::vector<int64_t> numbers;
  for (const Json& item : *value.json) {
    if (!is_integer_within(item, least, most)) fail(key, value, expected);
    numbers.push_back(item.get<int64_t>());
  }
  return numbers;
}

std::vector<int32_t> GenerationValues::sequence(const char* key, const Value& setting, const Json& ids,
                                                int64_t last) const {
  const std::string expected = "lists of at least one token id from 0 to " + std::to_string(last);
  if (!ids.is_array() || ids.empty()) fail(key, setting, expected);
  std::vector<int32_t> sequence;
  for (const Json& id : ids) {
    if (!is_integer_within(id, 0, last)) fail(key, setting, expected);
    sequence.push_back(id.get<int32_t>());
  }
  return sequence;
}

std::vector<std::vector<int32_t>> GenerationValues::sequences(const char* key, int64_t last) const {
  const Value value = find(key);
  if (value.json == nullptr) return {};
  if (!value.json->is_array() || value.json->empty()) fail(key, value, "a list of at least one list of ids");
  std::vector<std::vector<int32_t>> found;
  for (const Json& ids : *value.json) found.push_back(sequence(key, value, ids, last));
  return found;
}

void GenerationValues::refuse_unsupported(bool beams) const {
  for (const UnsupportedKey& key : kUnsupportedKeys) {
    if (key.scope == (beams ? Scope::kGreedy : Scope::kBeams)) continue;
    const Value value = find(key.name);
    if (value.json == nullptr || key.neutral(*value.json)) continue;
    throw Error(ErrorKind::kUnsupported,
                {.what = "this generation setting is not built",
                 .where = where_of(key.name, value),
                 .found = shown(*value.json),
                 .hint = "take it out of the model's file or set it to its neutral value"});
  }
}

void check_option_names(const Json& options) {
  std::vector<std::string> names(std::begin(kGenerationKeys), std::end(kGenerationKeys));
  for (const char* name : {"seed", "eos_token_id", "bos_token_id", "decoder_start_token_id"}) {
    names.push_back(name);
  }
  // Told as such where they are used.
  for (const UnsupportedKey& key : kUnsupportedKeys) names.push_back(key.name);
  for (const auto& [key, value] : options.items()) {
    if (std::find(names.begin(), names.end(), key) != names.end()) continue;
    const std::string near = nearest_name(key, names);
    throw Error(ErrorKind::kUsage, {.what = "there is no such setting of generation",
                                    .where = key,
                                    .hint = near.empty() ? "" : "did you mean " + near + "?"});
  }
}

}  // namespace precis::generate

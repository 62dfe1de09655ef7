// Ranges and defaults of the settings of sampling.
#include "generate/sampling_values.h"

#include <limits>
#include <string>

namespace precis::generate {

namespace {

// Filters, and the values that transformers takes as not set.
struct Filter {
  const char* key;
  std::optional<double> neutral;
};

constexpr Filter kFilters[] = {{"temperature", 1.0},    {"top_h", std::nullopt}, {"top_k", 50.0},
                               {"top_p", 1.0},          {"min_p", std::nullopt}, {"typical_p", 1.0},
                               {"epsilon_cutoff", 0.0}, {"eta_cutoff", 0.0}};

// Says which settings do nothing. Those of a model stay unsaid where the user turned sampling off.
void say_ignored(const GenerationValues& values, const LogSink& sink) {
  const bool turned_off = values.find("do_sample").from_option;
  std::string ignored;
  for (const Filter& filter : kFilters) {
    const GenerationValues::Value value = values.find(filter.key);
    if (value.json == nullptr || (turned_off && !value.from_option)) continue;
    if (filter.neutral && value.json->is_number() && *value.json == *filter.neutral) continue;
    ignored += (ignored.empty() ? "" : ", ") + std::string(filter.key);
  }
  if (values.find("seed").from_option) ignored += (ignored.empty() ? "" : ", ") + std::string("seed");
  if (ignored.empty()) return;
  log(sink, LogLevel::kWarning, "without do_sample these change nothing: " + ignored);
}

double within(const GenerationValues& values, const char* key, double least, bool least_itself,
              double otherwise) {
  const double number = values.real(key).value_or(otherwise);
  if (number > 1.0 || number < least || (number == least && !least_itself)) {
    values.fail(key, values.find(key), least_itself ? "a number from 0 to 1" : "a number above 0, up to 1");
  }
  return number;
}

std::optional<double> optional_within(const GenerationValues& values, const char* key, bool zero) {
  if (values.find(key).json == nullptr) return std::nullopt;
  return within(values, key, 0.0, zero, 1.0);
}

uint64_t seed(const Json& options) {
  const auto found = options.find("seed");
  if (found == options.end() || found->is_null()) return kDefaultSeed;
  const Json no_model = Json::object();
  const GenerationValues alone(options, no_model, "");
  return static_cast<uint64_t>(*alone.integer("seed", 0, std::numeric_limits<int64_t>::max()));
}

}  // namespace

std::optional<Sampling> resolve_sampling(const GenerationValues& values, const Json& options,
                                         const LogSink& sink) {
  Sampling sampling;
  sampling.seed = seed(options);
  if (!values.boolean("do_sample").value_or(false)) {
    say_ignored(values, sink);
    return std::nullopt;
  }
  sampling.temperature = values.real("temperature").value_or(sampling.temperature);
  // Scores divided by it are to stay finite.
  if (sampling.temperature < 1e-30 || sampling.temperature > 1e30) {
    values.fail("temperature", values.find("temperature"), "a number above 0, from 1e-30 to 1e30",
                "without do_sample the likeliest token is written");
  }
  sampling.top_h = optional_within(values, "top_h", false);
  sampling.top_k = values.integer("top_k", 0, std::numeric_limits<int32_t>::max()).value_or(sampling.top_k);
  sampling.top_p = within(values, "top_p", 0.0, true, sampling.top_p);
  sampling.min_p = optional_within(values, "min_p", true);
  sampling.typical_p = within(values, "typical_p", 0.0, false, sampling.typical_p);
  sampling.epsilon_cutoff = within(values, "epsilon_cutoff", 0.0, true, sampling.epsilon_cutoff);
  sampling.eta_cutoff = within(values, "eta_cutoff", 0.0, true, sampling.eta_cutoff);
  return sampling;
}

}  // namespace precis::generate

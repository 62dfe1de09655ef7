// Generation options: names, types and help. Ranges are checked where they are resolved against the model.
#include "cli/generation_options.h"

#include <algorithm>
#include <vector>

namespace precis::cli {

namespace {

std::string dashed(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

struct Described {
  const char* name;
  const char* help;
};

constexpr Described kIntegers[] = {
    {"num_beams", "Beams; 1 is greedy search"},
    {"no_repeat_ngram_size", "No n-gram of this size is written twice; 0 is off"},
    {"max_new_tokens", "Most tokens to write"},
    {"min_new_tokens", "Fewest tokens to write"},
    {"max_length", "Most tokens, the start token counted"},
    {"min_length", "Fewest tokens, the start token counted"},
    {"forced_bos_token_id", "The first token to write"},
};

constexpr Described kTokenLists[] = {
    {"forced_eos_token_id", "The token, or tokens, that end a summary of the greatest length"},
    {"eos_token_id", "The token, or tokens, that end a summary"},
};

}  // namespace

void add_generation_options(CLI::App& command, Json& values) {
  const std::string group = "Generation (default: the model's generation_config.json)";
  for (const Described& option : kIntegers) {
    command
        .add_option_function<int64_t>(
            dashed(option.name),
            [&values, name = option.name](const int64_t& value) { values[name] = value; }, option.help)
        ->group(group);
  }
  command
      .add_option_function<double>(
          "--length-penalty", [&values](const double& value) { values["length_penalty"] = value; },
          "Scores are divided by the length to this power: above 0 favours long summaries")
      ->group(group);
  command
      .add_option_function<std::string>(
          "--early-stopping",
          [&values](const std::string& value) {
            values["early_stopping"] = value == "never" ? Json(value) : Json(value == "true");
          },
          "When beam search may end before it is sure of the best")
      ->check(CLI::IsMember({"true", "false", "never"}))
      ->group(group);
  for (const Described& option : kTokenLists) {
    command
        .add_option_function<std::vector<int64_t>>(
            dashed(option.name),
            [&values, name = option.name](const std::vector<int64_t>& value) { values[name] = value; },
            option.help)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->group(group);
  }
}

}  // namespace precis::cli

// Generation options: names, types and help. Ranges are checked where they are resolved against the model.
#include "cli/generation_options.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "cli/program.h"

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
    {"num_beams", "Beams; 1 is greedy search, or sampling"},
    {"num_return_sequences", "Summaries of each document: of the beams the best, or as many draws"},
    {"no_repeat_ngram_size", "No n-gram of this size is written twice; 0 is off"},
    {"encoder_no_repeat_ngram_size", "No n-gram of this size is taken from the document; 0 is off"},
    {"max_new_tokens", "Most tokens to write"},
    {"min_new_tokens", "Fewest tokens to write"},
    {"max_length", "Most tokens, the start token counted"},
    {"min_length", "Fewest tokens, the start token counted"},
    {"forced_bos_token_id", "The first token to write"},
};

constexpr Described kNumbers[] = {
    {"length_penalty", "Scores are divided by the length to this power: above 0 favours long summaries"},
    {"repetition_penalty", "Above 1, tokens that were written become less likely"},
    {"encoder_repetition_penalty", "Above 1, tokens of the document become more likely"},
};

constexpr Described kTokenLists[] = {
    {"forced_eos_token_id", "The token, or tokens, that end a summary of the greatest length"},
    {"eos_token_id", "The token, or tokens, that end a summary"},
    {"suppress_tokens", "Tokens that are never written"},
    {"begin_suppress_tokens", "Tokens that no summary begins with"},
};

constexpr Described kJson[] = {
    {"bad_words_ids", "Sequences of tokens that are never written, as JSON: [[5, 6], [7]]"},
    {"sequence_bias", "What is added to the score of sequences, as JSON: [[[5, 6], -2.5]]"},
    {"exponential_decay_length_penalty", "From which length on the end grows likelier, as JSON: [40, 1.05]"},
};

constexpr Described kSamplingIntegers[] = {
    {"top_k", "Draw from so many likeliest tokens; 0: from all (default: 50)"},
    {"seed", "Of the draws; equal seeds give equal summaries (default: 1)"},
};

constexpr Described kSamplingNumbers[] = {
    {"temperature", "Below 1 sharpens the distribution, above 1 flattens it"},
    {"top_p", "Draw from the likeliest tokens that together have this probability"},
    {"min_p", "Draw from tokens with at least this share of the likeliest one's probability"},
    {"top_h", "Draw from the likeliest tokens that together have this share of the entropy"},
    {"typical_p", "Draw from the most typical tokens that together have this probability"},
    {"epsilon_cutoff", "Draw from tokens with at least this probability"},
    {"eta_cutoff", "As epsilon_cutoff, lower where the distribution is flat"},
};

template <typename Value>
void add(CLI::App& command, Json& values, const Described& option, const std::string& group) {
  CLI::Option* added = command.add_option_function<Value>(
      dashed(option.name), [&values, name = option.name](const Value& value) { values[name] = value; },
      option.help);
  if (std::is_same_v<Value, int64_t>) added->check(whole_number());
  added->group(group);
}

void add_flag(CLI::App& command, Json& values, const Described& option, const std::string& group) {
  // Also --name=false, against a model that has it.
  command
      .add_flag_function(
          dashed(option.name), [&values, name = option.name](int64_t given) { values[name] = given > 0; },
          option.help)
      ->group(group);
}

void add_json(CLI::App& command, Json& values, const Described& option, const std::string& group) {
  command
      .add_option_function<std::string>(
          dashed(option.name),
          [&values, name = option.name](const std::string& text) {
            values[name] = parse_json(text, dashed(name), ErrorKind::kUsage);
          },
          option.help)
      ->group(group);
}

}  // namespace

void add_generation_options(CLI::App& command, Json& values) {
  const std::string group = "Generation (default: the model's generation_config.json)";
  for (const Described& option : kIntegers) add<int64_t>(command, values, option, group);
  for (const Described& option : kNumbers) add<double>(command, values, option, group);
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
        ->check(whole_number())
        ->allow_extra_args(false)
        ->group(group);
  }
  for (const Described& option : kJson) add_json(command, values, option, group);
  add_flag(command, values, {"renormalize_logits", "Scores are normalised after all other rules"}, group);

  const std::string sampling = "Sampling";
  add_flag(command, values, {"do_sample", "Draw tokens rather than take the likeliest"}, sampling);
  for (const Described& option : kSamplingNumbers) add<double>(command, values, option, sampling);
  for (const Described& option : kSamplingIntegers) add<int64_t>(command, values, option, sampling);
}

}  // namespace precis::cli

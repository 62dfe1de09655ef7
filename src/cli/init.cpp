// precis init: a model directory with fresh weights, from a configuration and a tokenizer.
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/file_system.h"
#include "cli/program.h"
#include "text/tokenizer.h"
#include "train/fresh_model.h"
#include "train/init_config.h"

namespace precis::cli {

namespace {

struct InitOptions {
  CommonOptions common;
  std::string config;
  std::string out;
  std::vector<std::string> overrides;
};

void init(const InitOptions& options) {
  apply_common_options(options.common);
  refuse_cuda(options.common, "init");
  refuse_existing(options.out);
  std::optional<int64_t> budget;
  if (!options.common.memory_budget.empty()) {
    budget = parse_bytes(options.common.memory_budget, "--memory-budget", ErrorKind::kUsage);
  }
  const train::InitConfig config = train::load_init_config(options.config, options.overrides, &stop_token());
  const Tokenizer tokenizer = Tokenizer::load(config.tokenizer);
  const train::FreshModel fresh = train::make_fresh_model(config, tokenizer);
  train::warn_of_slips(config, log_sink());
  const at::ScalarType dtype = scalar_type(options.common);
  train::check_weights_fit(fresh.model, dtype, budget);
  train::write_fresh_model(posix_file_system(), options.out, fresh, tokenizer, config.seed, dtype,
                           &stop_token());
  log(log_sink(), LogLevel::kInfo,
      options.out + ": " + std::to_string(fresh.model.parameter_count()) + " fresh parameters, " +
          options.common.dtype.value_or("float32") + ", seed " + std::to_string(config.seed) + ", init_std " +
          dump_json(fresh.model.raw["init_std"]));
}

}  // namespace

void add_init(CLI::App& app) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command = app.add_subcommand("init", "Make a model directory with fresh weights");
  command->add_option("config", options->config, "YAML with model, tokenizer and seed")
      ->required()
      ->check(not_empty());
  command->add_option("out", options->out, "Directory to write; must not exist")
      ->required()
      ->check(not_empty());
  command->add_option("overrides", options->overrides, "section.key=value, in place of the file's");
  add_common_options(*command, options->common);
  command->footer(
      "The configuration:\n"
      "  model: {model_type: bart, d_model: 256, encoder_layers: 4, ...}   the keys of a config.json\n"
      "  tokenizer: DIR\n"
      "  seed: 1\n"
      "vocab_size and the ids of the special tokens default to the tokenizer's, init_std to 1 / "
      "sqrt(d_model),\n"
      "every other key of a BART to transformers' BartConfig. The same seed gives the same bytes. --dtype "
      "is\n"
      "the type of the weights.\n"
      "Example: precis init small.yaml models/small model.d_model=128 seed=7");
  command->callback([options] { init(*options); });
}

}  // namespace precis::cli

// precis convert: a model directory, from any format of weights that is read to safetensors of one type.
#include <memory>
#include <optional>

#include "base/file_system.h"
#include "cli/program.h"
#include "io/atomic_directory.h"
#include "io/model_directory.h"
#include "io/read_file.h"
#include "models/model_files.h"
#include "models/weights.h"
#include "text/tokenizer.h"
#include "train/model_writer.h"

namespace precis::cli {

namespace {

struct ConvertOptions {
  CommonOptions common;
  std::string source;
  std::string target;
};

void convert(const ConvertOptions& options) {
  apply_common_options(options.common);
  refuse_cuda(options.common, "convert");
  refuse_memory_budget(options.common, "convert");
  refuse_existing(options.target);
  const std::filesystem::path source = options.source;
  read_model_config(source);  // tells a missing directory from one that is no model
  std::optional<Tokenizer> tokenizer;
  if (Tokenizer::is_there(source)) {
    tokenizer = Tokenizer::load(source);
  } else {
    log(log_sink(), LogLevel::kWarning, options.source + ": no tokenizer to take along");
  }
  std::optional<std::string> generation;
  if (read_generation_config(source)) {
    generation = read_file(source / "generation_config.json", ErrorKind::kModel);
  }
  const models::BartModel model = models::load_model(source, scalar_type(options.common), log_sink());
  throw_if_stopped(&stop_token());
  if (const std::optional<std::string> broken = models::first_not_finite(model.state())) {
    throw Error(ErrorKind::kNonFinite, {.what = "weight '" + *broken + "' holds values that are not finite " +
                                                "in " + models::dtype_name(model.dtype()),
                                        .where = options.source,
                                        .hint = "`precis inspect --verify` tells whether they are finite in "
                                                "the file; --dtype takes a wider type"});
  }

  FileSystem& files = posix_file_system();
  const std::filesystem::path target = options.target;
  make_directories(files, parent_directory(target));
  AtomicDirectory staged(files, target);
  train::write_model(staged, model, generation, tokenizer ? &*tokenizer : nullptr);
  throw_if_stopped(&stop_token());
  staged.commit();
  log(log_sink(), LogLevel::kInfo,
      options.target + ": " + std::to_string(model.config().parameter_count()) + " parameters in " +
          models::dtype_name(model.dtype()));
}

}  // namespace

void add_convert(CLI::App& app) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command =
      app.add_subcommand("convert", "Write a model's weights anew, as safetensors of one type");
  command->add_option("source", options->source, "Model directory to read")->required()->check(not_empty());
  command->add_option("target", options->target, "Directory to write; must not exist")
      ->required()
      ->check(not_empty());
  add_common_options(*command, options->common);
  command->footer(
      "Reads safetensors and pytorch_model.bin, whole or in shards; no pickle is run. The configuration\n"
      "keeps its unknown keys; generation_config.json and the tokenizer come along as they are.\n"
      "--dtype is the type of the weights.\n"
      "Example: precis convert bart-large-cnn models/bart-large-cnn-bf16 --dtype bfloat16");
  command->callback([options] { convert(*options); });
}

}  // namespace precis::cli

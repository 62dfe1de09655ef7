// precis inspect: what a model directory, a checkpoint, a weights file or a tokenizer holds, and whether it
// is whole.
#include <memory>

#include "cli/inspect_report.h"
#include "cli/program.h"
#include "io/model_directory.h"

namespace precis::cli {

namespace {

struct InspectOptions {
  CommonOptions common;
  std::string path;
  std::string format = "text";
  bool verify = false;
};

void inspect(const InspectOptions& options) {
  apply_common_options(options.common);
  refuse_model_options(options.common, "inspect");
  const Json report = inspect_report(options.path, options.verify, &stop_token());
  write_result(options.format == "json" ? pretty_json(report) : inspect_text(report));
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "Say what a model, checkpoint or tokenizer holds");
  command
      ->add_option("path", options->path,
                   "A model directory, a checkpoint, a .safetensors or .bin file or a tokenizer directory")
      ->required()
      ->check(not_empty());
  command->add_option("--format", options->format, "How it is printed")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command->add_flag("--verify", options->verify,
                    "Read every byte: digests, completeness, values that are not finite; damage is exit 4");
  add_common_options(*command, options->common);
  command->footer("Example: precis inspect models/my-bart --verify --format json");
  command->callback([options] { inspect(*options); });
}

}  // namespace precis::cli

// precis doctor: versions, devices, limits: what a bug report needs.
#include <memory>

#include "cli/doctor_report.h"
#include "cli/program.h"

namespace precis::cli {

namespace {

struct DoctorOptions {
  CommonOptions common;
  std::string format = "text";
};

void doctor(const DoctorOptions& options) {
  apply_common_options(options.common);
  refuse_model_options(options.common, "doctor");
  const Json report = doctor_report();
  write_result(options.format == "json" ? pretty_json(report) : doctor_text(report));
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto options = std::make_shared<DoctorOptions>();
  CLI::App* command = app.add_subcommand("doctor", "Say what this program runs on: what a bug report needs");
  command->add_option("--format", options->format, "How it is printed")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  add_common_options(*command, options->common);
  command->footer(
      "It names no machine, user or folder. What can't be found out is left out, or null.\n"
      "Example: precis doctor --format json");
  command->callback([options] { doctor(*options); });
}

}  // namespace precis::cli

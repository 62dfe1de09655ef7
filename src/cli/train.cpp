// precis train: reads the configuration, trains, shows how it goes.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <sstream>

#include "base/bytes.h"
#include "cli/numbers.h"
#include "cli/program.h"
#include "cli/progress.h"
#include "memory/plan.h"
#include "nn/device.h"
#include "train/schema.h"
#include "train/trainer.h"

namespace precis::cli {

namespace {

struct TrainOptions {
  CommonOptions common;
  std::string config;
  std::vector<std::string> overrides;
  std::string resume = "auto";
  std::vector<std::string> allow_change;
  bool dry_run = false;
  bool print_config = false;
};

template <class... Arguments>
std::string format(const char* pattern, Arguments... arguments) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, arguments...);
  return text;
}

// What a person sees of a run: the bar, and a line for each validation and checkpoint.
class Display {
 public:
  Display(const TrainOptions& options, at::Device device, LogSink sink)
      : progress_(sink, shows_progress(options.common)),
        sink_(progress_.wrap(std::move(sink))),
        device_(device),
        dry_run_(options.dry_run) {}

  const LogSink& sink() const { return sink_; }

  train::TrainObserver observer() {
    train::TrainObserver observer;
    observer.on_reading = [this](int64_t rows, int64_t tokens) {
      progress_.update(0.0, format("reading: %ld rows, %ld tokens", rows, tokens));
    };
    observer.on_plan = [this](const memory::MemoryPlan& plan) {
      if (dry_run_) return write_result(plan.describe());
      std::istringstream lines(plan.describe());
      for (std::string line; std::getline(lines, line);) log(sink_, LogLevel::kInfo, line);
    };
    observer.on_progress = [this](int64_t step, memory::StepPhase phase, int64_t done, int64_t total) {
      const std::string calls = format(" %ld of %ld", done, total);
      progress_.update(fraction_,
                       format("step %ld: ", step) +
                           (phase == memory::StepPhase::kEncoding   ? "windows encoded, calls" + calls
                            : phase == memory::StepPhase::kDecoding ? "decoding"
                                                                    : "windows' gradients, calls" + calls));
    };
    observer.on_step = [this](const train::StepReport& report) { show(report); };
    observer.on_validating = [this](int64_t done, int64_t total) {
      progress_.update(fraction_, format("validating: %ld of %ld documents", done, total));
    };
    observer.on_validation = [this](int64_t step, const train::ValidationResult& result, bool best) {
      std::string line = format("step %ld: validation loss %.4f", step, result.loss);
      if (result.rouge) {
        line += format(", ROUGE-1/2/L %.1f / %.1f / %.1f, %.1f tokens a summary", 100 * (*result.rouge)[0],
                       100 * (*result.rouge)[1], 100 * (*result.rouge)[2], result.mean_length);
      }
      log(sink_, LogLevel::kInfo, line + (best ? " (best)" : ""));
    };
    observer.on_checkpoint = [this](const std::filesystem::path& path) {
      log(sink_, LogLevel::kInfo, "saved " + path.string());
    };
    return observer;
  }

  void finish(const train::TrainOutcome& outcome) {
    if (outcome.step == outcome.first_step) {
      log(sink_, LogLevel::kInfo,
          outcome.checkpoint.string() +
              (outcome.stopped_early
                   ? " was the end by early stopping; more early_stopping.patience goes on"
                   : " is at the end of the run already; more steps, epochs or time go on"));
      return;
    }
    progress_.finish(
        1.0, format("%s at step %ld, %s of training, at most %s of %s, where %s were planned",
                    outcome.stopped_early ? "stopped early" : "finished", outcome.step,
                    format_seconds(outcome.seconds).c_str(), format_bytes(nn::peak_bytes(device_)).c_str(),
                    device_.is_cuda() ? "GPU memory taken" : "memory",
                    format_bytes(outcome.planned_bytes).c_str()));
  }

 private:
  void show(const train::StepReport& report) {
    const double tokens = static_cast<double>(report.update.source_tokens + report.update.target_tokens);
    // A mean over some 20 updates: single ones differ with their documents' lengths.
    constexpr double kShare = 0.05;
    tokens_ += tokens_ == 0 ? tokens : kShare * (tokens - tokens_);
    seconds_ += seconds_ == 0 ? report.seconds_of_update : kShare * (report.seconds_of_update - seconds_);
    if (fraction_ == 0) first_ = {report.fraction, report.seconds};
    fraction_ = report.fraction;
    const double done = fraction_ - first_.fraction;
    const double left = done > 0 ? (report.seconds - first_.seconds) * (1.0 - fraction_) / done : -1.0;
    const std::string line =
        format("step %ld/%ld  loss %.3f  lr %.2e  %.0f tokens/s  %s left  %s", report.step,
               report.total_steps, report.update.loss, report.learning_rate, tokens_ / seconds_,
               format_seconds(left).c_str(), format_bytes(nn::peak_bytes(device_)).c_str());
    progress_.update(fraction_, line);
  }

  struct Moment {
    double fraction = 0.0;
    double seconds = 0.0;
  };

  Progress progress_;
  LogSink sink_;
  at::Device device_;
  bool dry_run_;
  double fraction_ = 0.0;
  Moment first_;
  double tokens_ = 0.0;
  double seconds_ = 0.0;
};

// The common options that name a configuration key, as overrides behind the user's own.
std::vector<std::string> all_overrides(const TrainOptions& options) {
  std::vector<std::string> overrides = options.overrides;
  if (options.common.dtype) overrides.push_back("precision=" + *options.common.dtype);
  if (!options.common.memory_budget.empty()) {
    overrides.push_back("encoder.memory_budget=" + options.common.memory_budget);
  }
  return overrides;
}

void run(const TrainOptions& options) {
  apply_common_options(options.common);
  train::TrainRequest request;
  request.config = train::load_config(options.config, all_overrides(options), &stop_token());
  if (options.print_config) return write_result(train::config_to_yaml(request.config, /*origins=*/true));
  request.resume = options.resume;
  request.allow_change = options.allow_change;
  request.dry_run = options.dry_run;
  parallel::Communicator& ranks = join_ranks(options.common);
  request.device = compute_device(options.common, ranks);
  Display display(options, request.device, log_sink());
  const train::TrainOutcome outcome =
      train::train(request, posix_file_system(), display.sink(), &stop_token(),
                   ranks.leads() ? display.observer() : train::TrainObserver(), ranks);
  if (options.dry_run || !ranks.leads()) return;
  display.finish(outcome);
  write_result(outcome.checkpoint.string() + "\n");
}

}  // namespace

void add_train(CLI::App& app) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand(
      "train", "Train on whole documents, as a configuration says; prints the last checkpoint");
  command->add_option("config", options->config, "CONFIG.yaml")->required()->check(not_empty());
  command->add_option("overrides", options->overrides, "section.key=value, in place of the file's");
  command->add_option("--resume", options->resume, "auto, never, or a checkpoint's directory")
      ->check(not_empty())
      ->capture_default_str();
  command
      ->add_option("--allow-change", options->allow_change,
                   "A key, a section, data or model that a resumed run may change")
      ->allow_extra_args(false);
  command->add_flag("--dry-run", options->dry_run, "Print the memory plan and stop");
  command->add_flag("--print-config", options->print_config, "Print every key with its origin and stop");
  add_common_options(*command, options->common);
  command->footer(
      "Example: precis train train.yaml optimizer.learning_rate=5e-5 steps=500\n"
      "A second call goes on from the newest checkpoint in `output`.\n\n" +
      train::schema_help());
  command->callback([options] { run(*options); });
}

}  // namespace precis::cli

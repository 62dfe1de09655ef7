// Common options, log and signals of the command line.
#include "cli/program.h"

#include <ATen/Parallel.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <latch>
#include <thread>
#include <vector>

#include "base/error.h"
#include "io/json.h"
#include "io/yaml.h"
#include "nn/device.h"
#include "parallel/world.h"
#include "text/printable.h"

namespace precis::cli {

namespace {

bool g_json_log = false;
std::unique_ptr<parallel::Communicator> g_ranks;  // null: this process alone
bool g_follows = false;                           // a rank that is not the leader

std::shared_ptr<spdlog::logger> make_logger() {
  // Colour only where the terminal has it and NO_COLOR is unset or empty. spdlog takes any with COLORTERM.
  const char* no_color = std::getenv("NO_COLOR");
  const bool plain = (no_color != nullptr && *no_color != '\0') || !takes_control_sequences();
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(plain ? spdlog::color_mode::never
                                                                          : spdlog::color_mode::automatic);
  auto logger = std::make_shared<spdlog::logger>("precis", sink);
  logger->set_pattern("%^%l%$: %v");
  return logger;
}

// libgomp ends the program, with the code of a bug, where it can't start a thread: so more threads than there
// are cores are tried here first.
void check_threads(int count) {
  if (count <= static_cast<int>(std::thread::hardware_concurrency())) return;
  std::latch tried(1);
  std::vector<std::jthread> threads;
  try {
    threads.reserve(static_cast<size_t>(count));
    while (static_cast<int>(threads.size()) < count) threads.emplace_back([&] { tried.wait(); });
    tried.count_down();
  } catch (const std::exception&) {  // no more threads, or no memory for them
    tried.count_down();
    throw Error(ErrorKind::kUsage, {.what = "so many threads can't be started",
                                    .where = "--threads",
                                    .found = std::to_string(count),
                                    .hint = "more threads than cores only cost time"});
  }
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = make_logger();
  return *instance;
}

}  // namespace

void add_common_options(CLI::App& command, CommonOptions& options) {
  const std::string group = kCommonGroup;
  command.add_flag("--quiet,-q", options.quiet, "Say nothing but warnings and errors")->group(group);
  command.add_option("--log-format", options.log_format, "How messages on stderr look")
      ->check(CLI::IsMember({"text", "jsonl"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--threads", options.threads, "Threads to compute with (default: one a core)")
      ->check(whole_number())
      ->check(CLI::Range(1, 4096))
      ->group(group);
  command.add_option("--device", options.device, "Where to compute; auto: a GPU where there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--dtype", options.dtype, "Type of the weights and of the arithmetic (default: float32)")
      ->check(CLI::IsMember({"float32", "bfloat16", "float64"}))
      ->group(group);
  command
      .add_option("--memory-budget", options.memory_budget,
                  "Most memory to use, of the GPU's with one, for example 8GiB")
      ->group(group);
  command
      .add_option("--rank-timeout", options.rank_timeout,
                  "Seconds that a rank under mpirun or srun may be silent before the run ends")
      ->check(whole_number())
      ->check(CLI::Range(1, 86400))
      ->capture_default_str()
      ->group(group);
}

void allow_double_dash(CLI::App& command) {
  // CLI11 2.1 ends the sub-command at `--` unless a positional argument is still owed. This one always is:
  // the list before it takes everything.
  command.add_option("files after --")->group("");
}

void apply_common_options(const CommonOptions& options) {
  if (options.quiet) logger().set_level(spdlog::level::warn);
  if (options.threads > 0) {
    check_threads(options.threads);
    at::set_num_threads(options.threads);
  } else {
    at::init_num_threads();  // OMP_NUM_THREADS may ask for more than any machine has
  }
}

parallel::Communicator& join_ranks(const CommonOptions& options) {
  if (!parallel::started_as_rank()) return parallel::one_rank();
  g_ranks = parallel::join_world(std::chrono::seconds(options.rank_timeout));
  g_follows = !g_ranks->leads();
  return *g_ranks;
}

void leave_ranks() { g_ranks.reset(); }

bool shows_progress(const CommonOptions& options) {
  return !options.quiet && options.log_format == "text" && !g_follows;
}

void set_json_log(bool json) {
  g_json_log = json;
  if (json) logger().set_pattern("%v");
}

CLI::Validator not_empty() {
  return CLI::Validator([](std::string& text) { return std::string(text.empty() ? "is empty" : ""); }, "");
}

CLI::Validator whole_number() {
  const auto check = [](const std::string& text) {
    const bool whole = is_yaml_integer({.kind = YamlNode::Kind::kScalar, .text = text});
    return whole ? std::string() : "expected an integer, found '" + text + "'";
  };
  return CLI::Validator(check, "");
}

at::ScalarType scalar_type(const CommonOptions& options) {
  if (options.dtype == "float64") return at::kDouble;
  return options.dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
}

at::Device compute_device(const CommonOptions& options, const parallel::Communicator& ranks) {
  return nn::find_device(options.device, ranks.place_on_host(), "--device");
}

void refuse_cuda(const CommonOptions& options, const std::string& command) {
  if (options.device != "cuda") return;
  throw Error(ErrorKind::kUsage, {.what = command + " computes on the CPU alone",
                                  .where = "--device",
                                  .found = options.device,
                                  .hint = "leave it out"});
}

bool takes_control_sequences() {
  const char* kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) != 0 && kind != nullptr && *kind != '\0' && std::strcmp(kind, "dumb") != 0;
}

LogSink log_sink() {
  return [](LogLevel level, const std::string& message) {
    if (g_follows) return;
    const auto spd_level = level == LogLevel::kWarning ? spdlog::level::warn : spdlog::level::info;
    if (g_json_log) {
      logger().log(spd_level, dump_json({{"level", level == LogLevel::kWarning ? "warning" : "info"},
                                         {"message", message}}));
    } else {
      logger().log(spd_level, printable(message));
    }
  };
}

int report_failure(const Error& error) {
  std::string line = "precis: error: ";
  if (g_ranks) line += "rank " + std::to_string(g_ranks->rank()) + ": ";
  line += printable(error.what());
  if (g_json_log) {
    Json object = {{"level", "error"}, {"message", error.what()}, {"kind", name(error.kind())}};
    if (g_ranks) object["rank"] = g_ranks->rank();
    const ErrorDetails& details = error.details();
    for (const auto& [key, part] :
         {std::pair("where", &details.where), std::pair("expected", &details.expected),
          std::pair("found", &details.found), std::pair("hint", &details.hint)}) {
      if (!part->empty()) object[key] = *part;
    }
    line = dump_json(object);
  }
  std::fprintf(stderr, "%s\n", line.c_str());
  return exit_code(error.kind());
}

void refuse_memory_budget(const CommonOptions& options, const std::string& command) {
  if (options.memory_budget.empty()) return;
  throw Error(ErrorKind::kUnsupported,
              {.what = command + " does not keep to a memory budget yet", .where = "--memory-budget"});
}

void refuse_model_options(const CommonOptions& options, const std::string& command) {
  refuse_cuda(options, command);
  refuse_memory_budget(options, command);
  if (!options.dtype) return;
  throw Error(ErrorKind::kUsage, {.what = command + " computes nothing in this type",
                                  .where = "--dtype",
                                  .found = *options.dtype,
                                  .hint = "leave it out"});
}

StopToken& stop_token() {
  static StopToken token;
  return token;
}

void ReadingOptions::apply(DocumentOptions& options) const {
  options.replace_invalid_utf8 = invalid_utf8 == "replace";
  options.skip_bad_lines = parse_on_bad_line(on_bad_line).value_or(0);
}

std::array<CLI::Option*, 2> add_reading_options(CLI::App& command, ReadingOptions& options) {
  const auto check_bad_line = [](const std::string& text) -> std::string {
    return parse_on_bad_line(text) ? "" : "expected error or skip:N with N from 1, found '" + text + "'";
  };
  return {
      command
          .add_option("--invalid-utf8", options.invalid_utf8, "replace: U+FFFD for invalid bytes, counted")
          ->check(CLI::IsMember({"error", "replace"}))
          ->capture_default_str(),
      command
          .add_option("--on-bad-line", options.on_bad_line,
                      "skip:N: up to N bad lines of a JSON Lines file are left out, counted")
          ->check(check_bad_line)
          ->capture_default_str()};
}

void notify_reading(const DocumentReader& reader, const std::string& file) {
  if (reader.replaced_bytes() > 0) {
    log(log_sink(), LogLevel::kWarning,
        file + ": " + std::to_string(reader.replaced_bytes()) +
            " stretches of invalid UTF-8 replaced by U+FFFD");
  }
  if (reader.skipped_lines() > 0) {
    log(log_sink(), LogLevel::kWarning,
        file + ": " + std::to_string(reader.skipped_lines()) + " bad lines left out, the last one " +
            reader.last_skip_reason());
  }
}

void refuse_existing(const std::filesystem::path& output) {
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::symlink_status(output, ignored))) return;
  throw Error(ErrorKind::kIo, {.what = "already exists",
                               .where = output.string(),
                               .hint = "nothing is overwritten; choose another name"});
}

void write_result(const std::string& text) {
  if (g_follows) return;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    throw Error(ErrorKind::kIo, {.what = "can't write the result", .where = "stdout"});
  }
}

void flush_results() {
  if (std::fflush(stdout) != 0) {
    throw Error(ErrorKind::kIo, {.what = "can't write the result", .where = "stdout"});
  }
}

}  // namespace precis::cli

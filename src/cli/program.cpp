// Common options, log and signals of the command line.
#include "cli/program.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/error.h"

namespace precis::cli {

namespace {

bool g_json_log = false;

std::shared_ptr<spdlog::logger> make_logger() {
  // Colour only where stderr is a terminal and NO_COLOR is unset or empty.
  const char* no_color = std::getenv("NO_COLOR");
  const bool plain = no_color != nullptr && *no_color != '\0';
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>(plain ? spdlog::color_mode::never
                                                                          : spdlog::color_mode::automatic);
  auto logger = std::make_shared<spdlog::logger>("precis", sink);
  logger->set_pattern("%^%l%$: %v");
  return logger;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = make_logger();
  return *instance;
}

}  // namespace

void add_common_options(CLI::App& command, CommonOptions& options) {
  const std::string group = "Common";
  command.add_flag("--quiet,-q", options.quiet, "Say nothing but warnings and errors")->group(group);
  command.add_option("--log-format", options.log_format, "How messages on stderr look")
      ->check(CLI::IsMember({"text", "jsonl"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--threads", options.threads, "Threads to compute with (default: one a core)")
      ->check(CLI::Range(1, 4096))
      ->group(group);
  command.add_option("--device", options.device, "Where to compute")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--dtype", options.dtype, "Type of the weights and of the arithmetic")
      ->check(CLI::IsMember({"float32", "bfloat16", "float64"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--memory-budget", options.memory_budget, "Most memory to use, for example 8GiB")
      ->group(group);
}

void allow_double_dash(CLI::App& command) {
  // CLI11 2.1 ends the sub-command at `--` unless a positional argument is still owed. This one always is:
  // the list before it takes everything.
  command.add_option("files after --")->group("");
}

void apply_common_options(const CommonOptions& options) {
  g_json_log = options.log_format == "jsonl";
  if (g_json_log) logger().set_pattern("%v");
  if (options.quiet) logger().set_level(spdlog::level::warn);
  if (options.threads > 0) at::set_num_threads(options.threads);
}

int64_t parse_bytes(const std::string& text, const std::string& option) {
  return precis::parse_bytes(text, option, ErrorKind::kUsage);
}

at::ScalarType scalar_type(const CommonOptions& options) {
  if (options.dtype == "float64") return at::kDouble;
  return options.dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
}

void refuse_cuda(const CommonOptions& options, const std::string& command) {
  if (options.device != "cuda") return;
  throw Error(at::hasCUDA() ? ErrorKind::kUnsupported : ErrorKind::kUsage,
              {.what = at::hasCUDA() ? command + " does not run on CUDA yet" : "this libtorch has no CUDA",
               .where = "--device",
               .found = options.device,
               .hint = "--device cpu"});
}

LogSink log_sink() {
  return [](LogLevel level, const std::string& message) {
    const auto spd_level = level == LogLevel::kWarning ? spdlog::level::warn : spdlog::level::info;
    if (g_json_log) {
      const nlohmann::json line = {{"level", level == LogLevel::kWarning ? "warning" : "info"},
                                   {"message", message}};
      logger().log(spd_level, line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      logger().log(spd_level, message);
    }
  };
}

StopToken& stop_token() {
  static StopToken token;
  return token;
}

void check_stop() {
  if (stop_token().requested()) throw Error(stop_token().reason(), {.what = "stopped by a signal"});
}

void notify_replaced(int64_t count, const std::string& file) {
  if (count == 0) return;
  log(log_sink(), LogLevel::kWarning,
      file + ": " + std::to_string(count) + " stretches of invalid UTF-8 replaced by U+FFFD");
}

void write_result(const std::string& text) {
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

// The program `precis`: finds the sub-command, runs it, turns errors into exit codes.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <set>
#include <string>

#include "base/error.h"
#include "base/suggest.h"
#include "cli/program.h"

namespace precis::cli {

namespace {

// A log line must not end up in the file that opens under a closed stream's number. Reading the stand-in of a
// closed input fails, and so does writing to that of a closed output, as they should.
void open_closed_streams() {
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    const int way = number == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (fcntl(number, F_GETFD) == -1 && errno == EBADF && open("/dev/null", way) != number) _exit(5);
  }
}

void on_signal(int signal) {
  // The first one asks; a second one ends at once (checkpoints are committed atomically).
  if (stop_token().requested()) _exit(128 + signal);
  stop_token().request(signal == SIGINT ? ErrorKind::kInterrupted : ErrorKind::kTerminated);
}

// Leaves out of the usage line what hidden positional arguments (allow_double_dash) put there.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string usage = Formatter::make_usage(app, std::move(name));
    for (const char* hidden : {" []", " [...]"}) {
      const size_t at = usage.find(hidden);
      if (at != std::string::npos) usage.erase(at, std::strlen(hidden));
    }
    return usage;
  }
};

// The sub-command that the parse got to, for its names and its --help.
const CLI::App* reached(const CLI::App* app) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return app;
}

std::vector<std::string> option_names(const CLI::App* app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app->get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App* app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app->get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

// What the parse will find, looked up before it: its own errors are to have the format that was asked for.
bool asks_for_json_log(int argc, char** argv) {
  const std::string option = "--log-format";
  for (int i = 1; i < argc; ++i) {
    if (option + "=jsonl" == argv[i]) return true;
    if (option == argv[i] && i + 1 < argc && std::strcmp(argv[i + 1], "jsonl") == 0) return true;
  }
  return false;
}

int fail(ErrorKind kind, const std::string& message) {
  return report_failure(Error(kind, {.what = message}));
}

int usage_failure(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = reached(&app);
  std::string message = error.what();
  const std::vector<std::string> extras = app.remaining(true);
  // An unknown command is first told as a missing one.
  const bool has_commands = !command_names(command).empty();
  const bool unknown_command = has_commands && !extras.empty();
  if (unknown_command || dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const std::string& unknown = extras.empty() ? message : extras.front();
    const bool is_option = unknown.rfind("-", 0) == 0;
    const std::string stem = unknown.substr(0, unknown.find('='));
    message = (is_option      ? "unknown option "
               : has_commands ? "unknown command "
                              : "unexpected argument ") +
              stem;
    const std::string near = nearest_name(stem, is_option ? option_names(command) : command_names(command));
    if (is_option && command->get_option_no_throw(stem) != nullptr) {
      // CLI11 looks for options before a command's name among the program's own.
      message += " before the command: options follow it";
    } else if (!near.empty()) {
      message += "; did you mean " + near + "?";
    }
  }
  std::string name = command == &app ? "precis" : "precis " + command->get_name();
  if (command != &app && command->get_parent() != nullptr && command->get_parent() != &app) {
    name = "precis " + command->get_parent()->get_name() + " " + command->get_name();
  }
  return report_failure(Error(ErrorKind::kUsage, {.what = message, .hint = "see " + name + " --help"}));
}

// "--name" and "-n" of every flag of the program.
std::set<std::string> flag_names(const CLI::App* app) {
  std::set<std::string> names;
  for (const CLI::Option* option : app->get_options()) {
    if (option->get_items_expected_max() != 0) continue;
    for (const std::string& name : option->get_lnames()) names.insert("--" + name);
    for (const std::string& name : option->get_snames()) names.insert("-" + name);
  }
  for (const CLI::App* command : app->get_subcommands(nullptr)) names.merge(flag_names(command));
  return names;
}

// CLI11 takes a flag's value for a number, and any that is none for a bug.
void check_flags(const CLI::App& app, int argc, char** argv) {
  const std::set<std::string> flags = flag_names(&app);
  for (int i = 1; i < argc && std::strcmp(argv[i], "--") != 0; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    if (equals == std::string::npos || flags.count(argument.substr(0, equals)) == 0) continue;
    const std::string value = argument.substr(equals + 1);
    if (value == "true" || value == "false") continue;
    throw Error(ErrorKind::kUsage, {.what = "not the value of a flag",
                                    .where = argument.substr(0, equals),
                                    .expected = "true, false, or no value at all",
                                    .found = "'" + value + "'"});
  }
}

int run(int argc, char** argv) {
  CLI::App app("Trains and runs language models over documents of any length; nothing is ever truncated.",
               "precis");
  app.set_version_flag("--version", std::string("precis ") + PRECIS_VERSION);
  app.require_subcommand(1);
  set_json_log(asks_for_json_log(argc, argv));
  app.formatter(std::make_shared<HelpFormatter>());
  app.failure_message(CLI::FailureMessage::simple);
  add_summarize(app);
  add_train(app);
  add_evaluate(app);
  add_tokenizer(app);
  add_init(app);
  add_convert(app);
  add_inspect(app);
  add_doctor(app);
  add_bench(app);
  add_reference(app);
  check_flags(app, argc, argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    const int code = app.exit(success);
    if (!std::cout.flush()) return fail(ErrorKind::kIo, "stdout: can't write the result");
    return code;
  } catch (const CLI::ParseError& error) {
    return usage_failure(app, error);
  }
  // A result that could not be written is a failure even if the work went well.
  flush_results();
  leave_ranks();
  return 0;
}

}  // namespace

}  // namespace precis::cli

int main(int argc, char** argv) {
  precis::cli::open_closed_streams();
  // Failing writes are errors with a message, not deaths.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  struct sigaction action = {};
  action.sa_handler = precis::cli::on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hang_up = {};  // of a terminal that closes; nohup ignores it
  sigaction(SIGHUP, nullptr, &hang_up);
  if (hang_up.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
  int code;
  try {
    code = precis::cli::run(argc, argv);
  } catch (const std::exception& error) {
    code = precis::cli::report_failure(precis::as_error(error));
  }
  // All that was this program's own is closed. The destructors of libtorch's registries would take some 70 ms
  // more.
  std::fflush(nullptr);
  _exit(code);
}

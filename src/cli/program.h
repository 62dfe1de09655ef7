// What every sub-command shares: the common options, the log, and the stop token.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <CLI/CLI.hpp>
#include <array>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "base/stop.h"
#include "data/documents.h"
#include "parallel/communicator.h"

namespace precis::cli {

// `--quiet`, `--log-format`, `--threads`, `--device`, `--dtype`, `--memory-budget`.
struct CommonOptions {
  bool quiet = false;
  std::string log_format = "text";   // text | jsonl
  int threads = 0;                   // 0: libtorch's own choice
  std::string device = "auto";       // auto | cpu | cuda
  std::optional<std::string> dtype;  // float32 | bfloat16 | float64
  std::string memory_budget;         // "8GiB"; empty: none
  int rank_timeout = 60;             // seconds
};

// Their heading in --help.
inline constexpr const char* kCommonGroup = "Common";
// Adds the options above to a sub-command. Call once for each sub-command.
void add_common_options(CLI::App& command, CommonOptions& options);
// Lets `--` stand before file names in a command whose last positional argument is a list. Call once, last.
void allow_double_dash(CLI::App& command);
// Applies --quiet and --threads, after parsing. More threads than can be started are Error{kUsage}.
void apply_common_options(const CommonOptions& options);
// For a command that ranks share: joins those that mpirun or srun started, or gives this process alone. From
// here on the leader alone writes results and says anything but its error.
parallel::Communicator& join_ranks(const CommonOptions& options);
// At the end of work that went well.
void leave_ranks();
// Whether work is shown as it goes on.
bool shows_progress(const CommonOptions& options);
// Whether messages are JSON objects: before the parse, whose own errors are such messages too.
void set_json_log(bool json);

// For options that name something: an empty shell variable is no name.
CLI::Validator not_empty();
// For options that take an integer: CLI11 reads `010` as 8, and what is too large as the largest there is.
CLI::Validator whole_number();

// What --dtype names, float32 where it is not given.
at::ScalarType scalar_type(const CommonOptions& options);
// Where --device says to compute, as nn::find_device: `auto` takes a GPU where there is one. Each rank of a
// host takes the next one. Error{kUsage} where `cuda` is asked for and not there.
at::Device compute_device(const CommonOptions& options, const parallel::Communicator& ranks);
// For a command that computes on the CPU alone: Error{kUsage} for --device cuda.
void refuse_cuda(const CommonOptions& options, const std::string& command);
// For a command that keeps to no memory budget: Error{kUnsupported} where one is given.
void refuse_memory_budget(const CommonOptions& options, const std::string& command);
// For a command that runs no model: what says how to run one is an error rather than ignored.
void refuse_model_options(const CommonOptions& options, const std::string& command);

// Whether stderr is a terminal that takes a line back and shows colours: not a dumb one, nor one of no kind.
bool takes_control_sequences();
// The last message of a run that failed, to stderr in the chosen format. Returns the exit code.
int report_failure(const Error& error);

// Messages to stderr in the chosen format; nothing but warnings under --quiet.
LogSink log_sink();
// Set by SIGINT and SIGTERM.
StopToken& stop_token();
// What is wrong with a data file, and what is then done about it.
struct ReadingOptions {
  std::string invalid_utf8 = "error";  // error | replace
  std::string on_bad_line = "error";   // error | skip:N

  void apply(DocumentOptions& options) const;
};
std::array<CLI::Option*, 2> add_reading_options(CLI::App& command, ReadingOptions& options);
// Warns of what these options have replaced or left out in `file`, if anything.
void notify_reading(const DocumentReader& reader, const std::string& file);

// For an output that is made whole and never overwritten: Error{kIo} where the path is there already, told
// before the work.
void refuse_existing(const std::filesystem::path& output);

// To stdout; Error{kIo} where it can't be written. What stays buffered is written at the program's end.
void write_result(const std::string& text);
// Sends what is buffered on its way; Error{kIo} where it can't be written.
void flush_results();

// Each command's file defines one of these: it adds the sub-command and its callback.
void add_summarize(CLI::App& app);
void add_train(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_tokenizer(CLI::App& app);
void add_init(CLI::App& app);
void add_convert(CLI::App& app);
void add_inspect(CLI::App& app);
void add_doctor(CLI::App& app);
void add_bench(CLI::App& app);
void add_reference(CLI::App& app);

}  // namespace precis::cli

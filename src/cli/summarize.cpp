// precis summarize: one summary a document, the whole document read.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "cli/document_batches.h"
#include "cli/generation_options.h"
#include "cli/program.h"
#include "cli/summarizer.h"
#include "cli/summary.h"
#include "data/documents.h"
#include "io/descriptor.h"
#include "io/utf8.h"

namespace precis::cli {

namespace {

// The most rows of the decoder at once: each has scores of the whole vocabulary.
constexpr int64_t kDecoderRows = 256;

struct SummarizeOptions {
  CommonOptions common;
  std::vector<std::string> inputs;  // [MODEL] [FILE...]
  std::string model;
  std::optional<std::string> query;
  std::optional<int64_t> window;
  std::string format = "text";
  std::string input_format = "auto";
  std::string document_field;
  ReadingOptions reading;
  bool explain = false;
  bool stream = false;
  bool no_stream = false;
  Json generation = Json::object();
};

struct Inputs {
  std::string model;
  std::vector<std::string> files;
};

Inputs find_inputs(const SummarizeOptions& options) {
  Inputs inputs{options.model, options.inputs};
  if (inputs.model.empty()) {
    std::error_code unreadable;  // a text in the place of a path can be too long for one
    const bool named =
        !inputs.files.empty() && inputs.files.front() != "-" &&
        std::filesystem::exists(std::filesystem::path(inputs.files.front()) / "config.json", unreadable);
    if (!named) {
      throw Error(ErrorKind::kModel, {.what = "no model is named",
                                      .where = inputs.files.empty() ? "" : inputs.files.front(),
                                      .expected = "a directory with a config.json as the first argument",
                                      .hint = "or give --model DIR"});
    }
    inputs.model = inputs.files.front();
    inputs.files.erase(inputs.files.begin());
  }
  if (inputs.files.empty()) {
    if (isatty(STDIN_FILENO) != 0) {
      throw Error(ErrorKind::kUsage,
                  {.what = "nothing to read", .hint = "name a file, or - for standard input"});
    }
    inputs.files.push_back("-");
  }
  // A missing file is found before the model is loaded and before anything is written.
  for (const std::string& file : inputs.files) {
    std::error_code ignored;
    if (file != "-" && !std::filesystem::exists(file, ignored)) open_for_reading(file, ErrorKind::kData);
  }
  return inputs;
}

// Whether the text is to come as it is written: where it was asked for, else where somebody watches.
bool streams(const SummarizeOptions& options, const generate::GenerationConfig& generation) {
  if (!options.stream) return !options.no_stream && options.format == "text" && isatty(STDOUT_FILENO) != 0;
  if (options.format != "text") {
    throw Error(ErrorKind::kUsage, {.what = "only text can come as it is written",
                                    .where = "--stream",
                                    .expected = "--format text",
                                    .found = options.format});
  }
  if (generation.num_return_sequences > 1) {
    throw Error(ErrorKind::kUsage, {.what = "only one sequence can come as it is written",
                                    .where = "--stream",
                                    .expected = "num_return_sequences 1",
                                    .found = std::to_string(generation.num_return_sequences)});
  }
  return true;
}

// Where every text is to be streamed, one document at a time.
BatchBounds batch_bounds(const SummarizeOptions& options, const generate::GenerationConfig& generation) {
  BatchBounds bounds;
  bounds.documents = std::clamp<int64_t>(kDecoderRows / generation.rows(), 1, bounds.documents);
  if (options.stream) bounds.documents = 1;
  return bounds;
}

// Each result is on its way before the next one is made.
void print(const Summary& summary, SummaryStream* stream, const std::string& model,
           const SummarizeOptions& options, const std::string& separator) {
  if (options.format != "text") {
    write_result(dump_json(to_json(summary, model, options.explain), options.format == "json" ? 2 : -1) +
                 "\n");
  } else if (stream != nullptr) {
    const std::string& text = summary.sequences.front().text;
    stream->finish(text);
    write_result(to_text(summary, options.explain).substr(text.size()));
  } else {
    write_result(separator + to_text(summary, options.explain));
  }
  flush_results();
}

void summarize(const SummarizeOptions& options) {
  apply_common_options(options.common);
  std::optional<int64_t> budget;
  if (!options.common.memory_budget.empty()) {
    budget = parse_bytes(options.common.memory_budget, "--memory-budget", ErrorKind::kUsage);
  }
  refuse_cuda(options.common, "summarize");
  if (options.query && find_invalid_utf8(*options.query) != std::string_view::npos) {
    throw Error(ErrorKind::kUsage,
                {.what = "the query is not UTF-8",
                 .where = "--query",
                 .found = describe_invalid_utf8(*options.query, find_invalid_utf8(*options.query))});
  }
  const Inputs inputs = find_inputs(options);
  DocumentOptions document_options = {.summaries = false, .stop = &stop_token()};
  if (options.input_format != "auto") document_options.format = parse_input_format(options.input_format);
  document_options.document_field = options.document_field;
  options.reading.apply(document_options);

  Summarizer summarizer(inputs.model,
                        {.dtype = scalar_type(options.common),
                         .window = options.window,
                         .generation = options.generation,
                         .explain = options.explain,
                         .memory_budget = budget,
                         .progress = !options.common.quiet && options.common.log_format == "text"},
                        log_sink(), &stop_token());
  const Streaming streaming =
      streams(options, summarizer.generation()) ? Streaming::kWhereAlone : Streaming::kOff;
  DocumentBatches batches(inputs.files, document_options, options.query, summarizer.tokenizer(),
                          summarizer.model_config(), summarizer.window(),
                          batch_bounds(options, summarizer.generation()));
  int64_t printed = 0;
  const auto separator = [&] { return std::string(printed == 0 ? "" : "\n"); };
  for (;;) {
    std::vector<ReadDocument> batch = batches.next();
    if (batch.empty()) break;
    summarizer.summarize(std::move(batch), streaming, separator,
                         [&](const Summary& summary, SummaryStream* stream) {
                           print(summary, stream, inputs.model, options, separator());
                           ++printed;
                         });
  }
  if (printed == 0) log(log_sink(), LogLevel::kWarning, "there was no document to summarize");
}

}  // namespace

void add_summarize(CLI::App& app) {
  auto options = std::make_shared<SummarizeOptions>();
  CLI::App& command =
      *app.add_subcommand("summarize", "Summarize documents of any length, the whole of each read");
  command.footer("Example:\n  precis summarize models/my-bart book.txt --num-beams 4 --max-new-tokens 200");
  command
      .add_option(
          "inputs", options->inputs,
          "[MODEL] [FILE...|-]: a first directory with a config.json is the model; - is standard input")
      ->check(not_empty());
  command.add_option("--model", options->model, "The model's directory; every other argument is then a file")
      ->check(not_empty());
  command.add_option("--query", options->query, "What the summary is to answer: put before every window");
  command
      .add_option("--window", options->window, "Tokens the encoder reads at once (default: its positions)")
      ->check(whole_number());
  command.add_option("--format", options->format, "How results are printed")
      ->check(CLI::IsMember({"text", "json", "jsonl"}))
      ->capture_default_str();
  command.add_option("--input-format", options->input_format, "auto: JSON Lines by the extension, else text")
      ->check(CLI::IsMember({"auto", "text", "jsonl"}))
      ->capture_default_str();
  command.add_option("--document-field", options->document_field, "Field of the text in JSON Lines");
  add_reading_options(command, options->reading);
  command.add_flag("--explain", options->explain,
                   "Also where in the document each sentence comes from: the passages attended to most");
  CLI::Option* stream = command.add_flag("--stream", options->stream,
                                         "Print the text as it is written (default: on a terminal, as text)");
  command.add_flag("--no-stream", options->no_stream, "Print a text when it is whole")->excludes(stream);
  add_generation_options(command, options->generation);
  add_common_options(command, options->common);
  allow_double_dash(command);
  command.callback([options] { summarize(*options); });
}

}  // namespace precis::cli

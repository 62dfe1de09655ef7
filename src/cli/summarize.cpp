// precis summarize: one summary a document, the whole document read.
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "cli/default_model.h"
#include "cli/document_batches.h"
#include "cli/generation_options.h"
#include "cli/numbers.h"
#include "cli/program.h"
#include "cli/progress.h"
#include "cli/summary.h"
#include "data/documents.h"
#include "io/descriptor.h"
#include "nn/device.h"
#include "summarize/summarizer.h"

namespace precis::cli {

namespace {

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
  std::filesystem::path model;
  bool model_named = true;
  std::vector<std::string> files;
};

Inputs find_inputs(const SummarizeOptions& options) {
  Inputs inputs{.model = options.model, .files = options.inputs};
  if (options.model.empty()) {
    std::error_code unreadable;  // a text in the place of a path can be too long for one
    inputs.model_named = !inputs.files.empty() && inputs.files.front() != "-" &&
                         std::filesystem::is_directory(inputs.files.front(), unreadable);
    if (inputs.model_named) {
      inputs.model = inputs.files.front();
      inputs.files.erase(inputs.files.begin());
    } else {
      inputs.model = default_model();
    }
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
    std::error_code problem;
    if (file == "-" || std::filesystem::exists(file, problem)) continue;
    if (!problem && !inputs.model_named && file == inputs.files.front()) {
      throw Error(ErrorKind::kData, {.what = "no such file, and no such model", .where = file});
    }
    open_for_reading(file, ErrorKind::kData);
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

// Texts in one string, each behind its length and a colon; and back.
std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += std::to_string(text.size()) + ":" + text;
  return all;
}

std::vector<std::string> parted(const std::string& all) {
  std::vector<std::string> texts;
  for (size_t at = 0; at < all.size();) {
    const size_t colon = all.find(':', at);
    const size_t length = std::stoull(all.substr(at, colon - at));
    texts.push_back(all.substr(colon + 1, length));
    at = colon + 1 + length;
  }
  return texts;
}

// Every rank reads the files, and what comes through a pipe can be read once.
void refuse_pipes(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    std::error_code unreadable;
    if (file != "-" && std::filesystem::is_regular_file(file, unreadable)) continue;
    throw Error(ErrorKind::kUsage, {.what = "several ranks read files alone",
                                    .where = file,
                                    .hint = "run without mpirun or srun, or write the text to a file"});
  }
}

// What a person sees and scripts read of summaries: results on stdout, each on its way before the next one is
// made, progress on stderr.
class Display {
 public:
  Display(const SummarizeOptions& options, at::Device device, std::string model)
      : options_(options),
        device_(device),
        model_name_(std::move(model)),
        progress_(log_sink(), shows_progress(options.common)) {}

  LogSink sink() { return progress_.wrap(log_sink()); }
  int64_t printed() const { return printed_; }

  summarize::Callbacks callbacks(const Tokenizer& tokenizer, bool streaming) {
    summarize::Callbacks callbacks;
    callbacks.take = [this](const Summary& summary, const std::string& document) { take(summary, document); };
    callbacks.progress = [this](double fraction, const std::string& doing) {
      if (!streamed()) progress_.update(fraction, doing);  // a bar would be drawn into the text
    };
    if (streaming) {
      callbacks.on_certain = [this, &tokenizer](const generate::TokenSequence& ids) {
        if (!stream_) stream_.emplace(tokenizer, separator(), [this] { progress_.clear(); });
        stream_->update(ids);
      };
    }
    return callbacks;
  }

  // From here on summaries go to `own`, each as it is printed and what is told of it.
  void collect(std::vector<std::string>& own) { own_ = &own; }
  // On the leader: prints what ranks have collected.
  void print_collected(const std::vector<std::string>& collected) {
    for (size_t i = 0; i + 1 < collected.size(); i += 2, ++printed_) print(collected[i], collected[i + 1]);
  }

  // What is said of an error goes on a line of its own.
  void break_off() {
    if (streamed()) stream_->break_off();
  }

 private:
  bool streamed() const { return stream_ && stream_->started(); }
  std::string separator() const { return printed_ == 0 ? "" : "\n"; }

  void take(const Summary& summary, const std::string& document) {
    if (own_ != nullptr) {  // one of several ranks: the leader prints
      own_->push_back(printed_form(summary, document));
      own_->push_back(told(summary));
      return;
    }
    if (streamed()) {
      stream_->finish(summary.text());
      write_result(to_text(summary, document, options_.explain).substr(summary.text().size()));
      flush_results();
      progress_.finish(1.0, told(summary));
    } else {
      print(printed_form(summary, document), told(summary));
    }
    stream_.reset();
    ++printed_;
  }

  std::string printed_form(const Summary& summary, const std::string& document) {
    return options_.format == "text" ? to_text(summary, document, options_.explain) : json_line(summary);
  }

  void print(const std::string& form, const std::string& line) {
    progress_.finish(1.0, line);
    write_result(options_.format == "text" ? separator() + form : form);
    flush_results();
  }

  std::string json_line(const Summary& summary) const {
    const int indent = options_.format == "json" ? 2 : -1;
    return dump_json(to_json(summary, model_name_, nn::peak_bytes(device_), options_.explain), indent) + "\n";
  }

  std::string told(const Summary& summary) {
    std::string line = summary.id + ": " + counted(summary.input_tokens, "token") + " read in " +
                       counted(summary.windows, "window") + ", " + counted(summary.output_tokens(), "token") +
                       " written";
    if (summary.seed) line += ", sampled with seed " + std::to_string(*summary.seed);
    if (summary.absorbed_layers > 0) {
      line += ", cross-attention of " + std::to_string(summary.absorbed_layers) + " of " +
              std::to_string(summary.held_layers + summary.absorbed_layers) +
              " layers absorbed to save memory";
    }
    const Seconds& seconds = summary.seconds;
    return line + ", " + format_seconds(seconds.encode + seconds.decode + seconds.explain);
  }

  const SummarizeOptions& options_;
  at::Device device_;
  std::string model_name_;
  Progress progress_;
  std::optional<SummaryStream> stream_;  // of the summary that is being written
  int64_t printed_ = 0;
  std::vector<std::string>* own_ = nullptr;
};

// Batches in turn over the ranks; the leader prints them in order. Every rank reads every document, since how
// they are batched depends on them.
void summarize_over(parallel::Communicator& ranks, DocumentBatches& batches,
                    summarize::Summarizer& summarizer, const summarize::Callbacks& callbacks,
                    Display& display) {
  std::vector<std::string> own;
  display.collect(own);
  for (bool more = true; more;) {
    std::vector<summarize::ReadDocument> mine;
    for (int rank = 0; rank < ranks.size() && more; ++rank) {
      std::vector<summarize::ReadDocument> batch = batches.next();
      more = !batch.empty();
      if (rank == ranks.rank()) mine = std::move(batch);
    }
    own.clear();
    if (!mine.empty()) summarizer.summarize(std::move(mine), callbacks);
    for (const std::string& of_rank : ranks.gather(joined(own))) {
      if (ranks.leads()) display.print_collected(parted(of_rank));
    }
  }
}

void summarize_files(const SummarizeOptions& options) {
  apply_common_options(options.common);
  std::optional<int64_t> budget;
  if (!options.common.memory_budget.empty()) {
    budget = parse_bytes(options.common.memory_budget, "--memory-budget", ErrorKind::kUsage);
  }
  parallel::Communicator& ranks = join_ranks(options.common);
  const at::Device device = compute_device(options.common, ranks);
  if (options.query) summarize::check_query(*options.query, "--query");
  const Inputs inputs = find_inputs(options);
  DocumentOptions document_options = {.summaries = false, .stop = &stop_token()};
  if (options.input_format != "auto") document_options.format = parse_input_format(options.input_format);
  document_options.document_field = options.document_field;
  options.reading.apply(document_options);

  Display display(options, device, inputs.model.string());
  if (!inputs.model_named) {
    log(display.sink(), LogLevel::kInfo,
        "no model is named: " + inputs.model.string() +
            " says in one line what a text is about; --model DIR takes another");
  }
  const summarize::LoadedModel model =
      summarize::load_model(inputs.model, scalar_type(options.common), device, display.sink());
  summarize::Summarizer summarizer(model,
                                   {.window = options.window,
                                    .generation = options.generation,
                                    .explain = options.explain,
                                    .memory_budget = budget},
                                   display.sink(), &stop_token());
  const bool alone = ranks.size() == 1;
  if (!alone) refuse_pipes(inputs.files);
  const summarize::Callbacks callbacks =
      display.callbacks(model.tokenizer, alone && streams(options, summarizer.generation()));
  summarize::BatchBounds bounds = summarizer.batch_bounds();
  if (options.stream) bounds.documents = 1;  // every text is to be streamed
  DocumentBatches batches(inputs.files, document_options, options.query, summarizer, bounds);
  if (!alone) summarize_over(ranks, batches, summarizer, callbacks, display);
  while (alone) {
    std::vector<summarize::ReadDocument> batch = batches.next();
    if (batch.empty()) break;
    try {
      summarizer.summarize(std::move(batch), callbacks);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kIo) display.break_off();
      throw;
    }
  }
  if (display.printed() == 0 && ranks.leads())
    log(log_sink(), LogLevel::kWarning, "there was no document to summarize");
}

}  // namespace

void add_summarize(CLI::App& app) {
  auto options = std::make_shared<SummarizeOptions>();
  CLI::App& command =
      *app.add_subcommand("summarize", "Summarize documents of any length, the whole of each read");
  command.footer("Example:\n  precis summarize models/my-bart book.txt --num-beams 4 --max-new-tokens 200");
  command
      .add_option("inputs", options->inputs,
                  "[MODEL] [FILE...|-]: a directory that comes first is the model; - is standard input")
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
  command.callback([options] { summarize_files(*options); });
}

}  // namespace precis::cli

// precis summarize: one summary a document, the whole document read.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "base/memory_use.h"
#include "cli/generation_options.h"
#include "cli/numbers.h"
#include "cli/program.h"
#include "cli/progress.h"
#include "cli/sources_text.h"
#include "data/documents.h"
#include "evaluate/examples.h"
#include "generate/generate.h"
#include "generate/sources.h"
#include "io/descriptor.h"
#include "io/json.h"
#include "io/utf8.h"
#include "memory/cross_attention.h"
#include "memory/encode.h"
#include "memory/packs.h"
#include "memory/windows.h"
#include "models/bart/bart.h"
#include "models/model_files.h"
#include "text/tokenizer.h"

namespace precis::cli {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

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
  Json generation = Json::object();
};

struct Inputs {
  std::string model;
  std::vector<std::string> files;
};

struct Seconds {
  double load = 0, read = 0, encode = 0, decode = 0, explain = 0;

  double total() const { return load + read + encode + decode + explain; }
};

struct Summary {
  std::string id;
  std::string text;
  generate::Generated generated;
  int64_t input_tokens = 0;
  int64_t windows = 0;
  int64_t memory_rows = 0;
  Seconds seconds;
  // With --explain:
  std::string source;
  std::vector<generate::SentenceSources> sources;
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

class Summarizer {
 public:
  Summarizer(const SummarizeOptions& options, const std::string& directory, LogSink sink)
      : options_(options),
        directory_(directory),
        progress_(sink, !options.common.quiet && options.common.log_format == "text"),
        started_(Clock::now()),
        model_(models::load_model(directory, scalar_type(options.common), sink)),
        tokenizer_(Tokenizer::load(directory)),
        window_(options.window.value_or(model_.config().max_position_embeddings)),
        generation_(generate::resolve_generation_config(directory, model_.config(), options.generation,
                                                        progress_.wrap(std::move(sink)))),
        load_seconds_(pack_and_time()) {}

  // `read_seconds`: what reading the document took.
  Summary summarize(Document document, double read_seconds) {
    Summary summary;
    summary.id = document.id;
    summary.seconds.load = load_seconds_;
    const Clock::time_point read_start = Clock::now();
    if (options_.query) document.query = options_.query;
    const memory::DocumentTokens tokens =
        evaluate::tokenize_document(document, tokenizer_, model_.config(), window_);
    std::vector<memory::DocumentPack> packs =
        memory::pack_documents({memory::cut_windows(model_.config(), tokens, window_)});
    const memory::DocumentPack& pack = packs.front();
    summary.input_tokens = static_cast<int64_t>(tokens.text.size());
    summary.windows = static_cast<int64_t>(pack.windows_B.front().size());
    summary.memory_rows = pack.rows_B.front();
    summary.seconds.read = read_seconds + seconds_since(read_start);
    memory::MemoryBatch memory = encode(pack, summary);
    if (options_.explain) {
      write(memory, summary);
      summary.source = std::move(document.text);
      explain(memory, pack.windows_B.front(), summary);
    } else {
      write(std::move(memory), summary);
    }
    tell(summary);
    return summary;
  }

 private:
  double pack_and_time() {
    model_.pack_decoder();
    return seconds_since(started_);
  }

  memory::MemoryBatch encode(const memory::DocumentPack& pack, Summary& summary) {
    const Clock::time_point start = Clock::now();
    const auto show = [&](int64_t done, int64_t total) {
      // Encoding is taken as half of the work: how long decoding takes is not known before.
      progress_.update(
          0.5 * static_cast<double>(done) / static_cast<double>(total),
          summary.id + ": " + std::to_string(done) + " of " + std::to_string(total) + " windows encoded");
    };
    memory::MemoryBatch memory = memory::encode_pack(model_, pack, {}, &stop_token(), show);
    summary.seconds.encode = seconds_since(start);
    return memory;
  }

  void write(memory::MemoryBatch memory, Summary& summary) {
    const Clock::time_point start = Clock::now();
    memory::HeldCrossAttention attention(std::move(memory));
    generate::Callbacks callbacks;
    callbacks.stop = &stop_token();
    callbacks.on_step = [&](int64_t tokens, int64_t) {
      const double most = static_cast<double>(generation_.max_length - 1);
      progress_.update(0.5 + 0.5 * static_cast<double>(tokens) / most,
                       summary.id + ": " + std::to_string(tokens) + " tokens written");
    };
    summary.generated = std::move(generate::generate(model_, attention, 1, generation_, callbacks).front());
    summary.text = tokenizer_.decode(summary.generated.token_ids, true);
    summary.seconds.decode = seconds_since(start);
  }

  void explain(const memory::MemoryBatch& memory, const std::vector<memory::Window>& windows,
               Summary& summary) {
    throw_if_stopped(&stop_token());
    const Clock::time_point start = Clock::now();
    progress_.update(1.0, summary.id + ": finding the sources");
    summary.sources = generate::find_sources(model_, tokenizer_, memory, windows,
                                             tokenizer_.encode(summary.source), summary.generated.token_ids);
    summary.seconds.explain = seconds_since(start);
  }

  void tell(const Summary& summary) {
    const Seconds& seconds = summary.seconds;
    progress_.finish(1.0, summary.id + ": " + std::to_string(summary.input_tokens) + " tokens read in " +
                              std::to_string(summary.windows) + " windows, " +
                              std::to_string(summary.generated.token_ids.size() - 1) + " tokens written, " +
                              format_seconds(seconds.encode + seconds.decode + seconds.explain));
  }

  const SummarizeOptions& options_;
  std::string directory_;
  Progress progress_;
  Clock::time_point started_;
  models::BartModel model_;
  Tokenizer tokenizer_;
  int64_t window_;
  generate::GenerationConfig generation_;
  double load_seconds_;
};

Json sources_json(const std::vector<generate::SentenceSources>& sources) {
  Json list = Json::array();
  for (const generate::SentenceSources& sentence : sources) {
    Json passages = Json::array();
    for (const generate::Passage& passage : sentence.passages) {
      passages.push_back(
          {{"start", passage.span.begin}, {"end", passage.span.end}, {"weight", passage.weight}});
    }
    list.push_back({{"sentence", sentence.sentence}, {"passages", std::move(passages)}});
  }
  return list;
}

Json to_json(const Summary& summary, const std::string& model, bool explain) {
  const Seconds& seconds = summary.seconds;
  Json json = {{"id", summary.id},
               {"summary", summary.text},
               {"token_ids", summary.generated.token_ids},
               {"finish_reason", generate::name(summary.generated.finish_reason)},
               {"model", model},
               {"input_tokens", summary.input_tokens},
               {"windows", summary.windows},
               {"memory_rows", summary.memory_rows},
               {"truncated", false},
               {"output_tokens", static_cast<int64_t>(summary.generated.token_ids.size()) - 1},
               {"seconds",
                {{"load", seconds.load},
                 {"read", seconds.read},
                 {"encode", seconds.encode},
                 {"decode", seconds.decode},
                 {"total", seconds.total()}}},
               {"peak_memory_bytes", peak_memory_bytes()}};
  if (explain) {
    json["seconds"]["explain"] = seconds.explain;
    json["sources"] = sources_json(summary.sources);
  }
  return json;
}

std::string to_text(const Summary& summary, bool explain) {
  std::string text = summary.text + "\n";
  if (explain) text += "\n" + describe_sources(summary.sources, summary.source);
  return text;
}

// Each result is on its way before the next document is begun.
void print(const Summary& summary, const std::string& model, const SummarizeOptions& options, bool first) {
  if (options.format == "text") {
    write_result((first ? "" : "\n") + to_text(summary, options.explain));
  } else {
    write_result(dump_json(to_json(summary, model, options.explain), options.format == "json" ? 2 : -1) +
                 "\n");
  }
  flush_results();
}

void summarize(const SummarizeOptions& options) {
  apply_common_options(options.common);
  refuse_memory_budget(options.common, "summarize");
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

  Summarizer summarizer(options, inputs.model, log_sink());
  int64_t documents = 0;
  for (const std::string& file : inputs.files) {
    DocumentReader reader(file, document_options);
    for (;;) {
      const Clock::time_point start = Clock::now();
      std::optional<Document> document = reader.next();
      if (!document) break;
      print(summarizer.summarize(std::move(*document), seconds_since(start)), inputs.model, options,
            documents == 0);
      ++documents;
    }
    notify_reading(reader, file);
  }
  if (documents == 0) log(log_sink(), LogLevel::kWarning, "there was no document to summarize");
}

}  // namespace

void add_summarize(CLI::App& app) {
  auto options = std::make_shared<SummarizeOptions>();
  CLI::App& command =
      *app.add_subcommand("summarize", "Summarize documents of any length, the whole of each read");
  command.footer("Example:\n  precis summarize models/my-bart book.txt --num-beams 4 --max-new-tokens 200");
  command.add_option(
      "inputs", options->inputs,
      "[MODEL] [FILE...|-]: a first directory with a config.json is the model; - is standard input");
  command.add_option("--model", options->model, "The model's directory; every other argument is then a file")
      ->check(not_empty());
  command.add_option("--query", options->query, "What the summary is to answer: put before every window");
  command.add_option("--window", options->window,
                     "Tokens the encoder reads at once (default: its positions)");
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
  add_generation_options(command, options->generation);
  add_common_options(command, options->common);
  allow_double_dash(command);
  command.callback([options] { summarize(*options); });
}

}  // namespace precis::cli

// precis evaluate: the loss of a data set and the scores of what a model writes for it, or of predictions at
// hand.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>

#include "base/file_system.h"
#include "cli/evaluate_report.h"
#include "cli/generation_options.h"
#include "cli/program.h"
#include "cli/progress.h"
#include "data/documents.h"
#include "evaluate/examples.h"
#include "evaluate/model_results.h"
#include "evaluate/predictions.h"
#include "evaluate/report.h"
#include "io/model_directory.h"
#include "models/bart/bart.h"
#include "models/model_files.h"
#include "text/tokenizer.h"

namespace precis::cli {

namespace {

struct EvaluateOptions {
  CommonOptions common;
  std::string model, data;              // the form with a model
  std::string predictions, references;  // the form that scores
  std::string baseline;                 // of that form: another system's predictions
  std::vector<std::string> metrics;
  std::string output;
  std::string format = "text";
  std::string document_field, summary_field, query_field;
  std::optional<int64_t> window;
  std::optional<int64_t> max_target_tokens;
  std::string target_overflow = "error";
  std::string on_empty_summary = "error";
  ReadingOptions reading;
  bool no_stemmer = false;
  Json generation = Json::object();
  std::vector<const CLI::Option*> of_model_form;  // options that mean nothing to predictions at hand
};

evaluate::Metrics metrics_of(const EvaluateOptions& options, std::vector<std::string> otherwise) {
  evaluate::Metrics metrics = evaluate::parse_metrics(options.metrics.empty() ? otherwise : options.metrics);
  metrics.stemmer = !options.no_stemmer;
  // What would change nothing is a mistake.
  if (options.no_stemmer && !metrics.rouge) {
    throw Error(ErrorKind::kUsage, {.what = "stemming is a matter of ROUGE alone", .where = "--no-stemmer"});
  }
  if (!options.generation.empty() && !metrics.predictions()) {
    throw Error(ErrorKind::kUsage, {.what = "nothing is generated for these metrics",
                                    .where = "--metrics",
                                    .expected = "rouge or qa beside the options of generation"});
  }
  return metrics;
}

// A data set as ids, with what ROUGE compares to.
struct Set {
  std::vector<memory::Example> examples;
  std::vector<std::vector<std::string>> references;
  evaluate::ExampleCounts counts;
};

Set read_set(const EvaluateOptions& options, const Tokenizer& tokenizer, const models::BartConfig& model,
             int64_t window, bool loss) {
  evaluate::ExampleOptions example_options = {
      .window = window,
      // The decoder has no positions for more.
      .max_target_tokens = std::min(options.max_target_tokens.value_or(model.max_position_embeddings),
                                    model.max_position_embeddings),
      .truncate_long_targets = options.target_overflow == "truncate",
      .skip_empty_summaries = options.on_empty_summary == "skip",
      .length_setting = "--max-target-tokens",
      .truncate_setting = "--target-overflow truncate",
      .skip_setting = "--on-empty-summary skip"};
  // Without the loss no target is ever read.
  if (!loss) example_options.max_target_tokens = std::numeric_limits<int64_t>::max();
  DocumentOptions document_options = {.format = InputFormat::kJsonLines,
                                      .document_field = options.document_field,
                                      .summary_field = options.summary_field,
                                      .query_field = options.query_field,
                                      .stop = &stop_token()};
  options.reading.apply(document_options);
  DocumentReader reader(options.data, document_options);
  Set set;
  while (const std::optional<Document> document = reader.next()) {
    throw_if_stopped(&stop_token());
    std::optional<memory::Example> example =
        evaluate::make_example(*document, tokenizer, model, example_options, set.counts);
    if (!example) continue;
    set.examples.push_back(*std::move(example));
    set.references.push_back(document->summaries);
  }
  set.counts.skipped_lines = reader.skipped_lines();
  notify_reading(reader, options.data);
  if (set.examples.empty()) {
    throw Error(ErrorKind::kData, {.what = "no rows to evaluate", .where = options.data});
  }
  return set;
}

void print_report(const EvaluateOptions& options, const evaluate::Report& report,
                  const evaluate::ExampleCounts& counts,
                  const std::optional<evaluate::Comparisons>& comparisons = {}) {
  if (options.format == "text") {
    return write_result(report_text(report) +
                        (comparisons ? comparisons_text(*comparisons, options.baseline) : ""));
  }
  Json json = report_json(report, counts);
  if (comparisons) json["baseline"] = comparisons_json(*comparisons);
  write_result(pretty_json(json));
}

double finite_loss(const memory::DocumentLoss& loss, const std::string& id) {
  const double mean = loss.nll_sum / static_cast<double>(loss.tokens);
  if (!std::isfinite(mean)) {
    throw Error(ErrorKind::kNonFinite, {.what = "the loss of row '" + id + "' is not finite",
                                        .hint = "the weights, or the arithmetic of --dtype, overflow"});
  }
  return mean;
}

// Each document's results, in the data's order, into `output` and `scores`.
void take_results(const Set& set, const std::vector<evaluate::ModelResult>& results,
                  const Tokenizer& tokenizer, const evaluate::Metrics& metrics, FileReplacement* output,
                  evaluate::Scores& scores) {
  for (size_t i = 0; i < results.size(); ++i) {
    throw_if_stopped(&stop_token());
    const evaluate::ModelResult& result = results[i];
    Json row = {{"id", set.examples[i].id}};
    if (metrics.predictions()) {
      const std::string prediction = tokenizer.decode(result.summary, /*skip_special=*/true);
      scores.add_prediction(set.references[i], prediction);
      row["prediction"] = prediction;
    }
    if (metrics.loss) {
      row["loss"] = finite_loss(result.loss, set.examples[i].id);
      row["tokens"] = result.loss.tokens;
      scores.add_loss(result.loss);
    }
    if (output != nullptr) output->write(dump_json(row) + "\n");
  }
}

// The results would take the place of what they are made from.
void refuse_own_input(const EvaluateOptions& options) {
  std::error_code ignored;
  const auto refuse = [&](const char* what) {
    throw Error(ErrorKind::kUsage,
                {.what = what, .where = "--output", .found = options.output, .hint = "choose another name"});
  };
  if (std::filesystem::equivalent(options.output, options.data, ignored)) {
    refuse("the output is the data itself");
  }
  if (std::filesystem::equivalent(parent_directory(options.output), options.model, ignored)) {
    refuse("the output lies among the model's own files");
  }
}

void evaluate_model(const EvaluateOptions& options) {
  const evaluate::Metrics metrics = metrics_of(options, {"rouge", "loss"});
  refuse_own_input(options);
  parallel::Communicator& ranks = join_ranks(options.common);
  const at::Device device = compute_device(options.common, ranks);
  // Made now: an output that can't be written is found before the long work.
  std::optional<FileReplacement> output;
  if (!options.output.empty() && ranks.leads()) output.emplace(posix_file_system(), options.output);

  models::BartModel model = models::load_model(options.model, scalar_type(options.common), log_sink());
  model.to(device);
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  Progress progress(log_sink(), shows_progress(options.common));
  evaluate::ModelRequest request;
  request.window = options.window.value_or(model.config().max_position_embeddings);
  memory::piece_length(model.config(), request.window, 0);  // a bad window is told before the data is read
  request.loss = metrics.loss;
  if (metrics.predictions()) {
    request.generation = generate::resolve_generation_config(options.model, model.config(),
                                                             options.generation, progress.wrap(log_sink()));
    model.pack_decoder();
  }
  const Set set = read_set(options, tokenizer, model.config(), request.window, metrics.loss);
  evaluate::tell_counts(set.counts, options.data, log_sink());
  request.ranks = &ranks;
  request.stop = &stop_token();
  const std::string all = std::to_string(set.examples.size());
  request.progress = [&](double done, const std::string& doing) {
    progress.update(done / static_cast<double>(set.examples.size()),
                    std::to_string(static_cast<int64_t>(done)) + " of " + all + " documents" +
                        (doing.empty() ? "" : ": " + doing));
  };
  evaluate::Scores scores(metrics, &stop_token());
  take_results(set, evaluate::model_results(model, set.examples, request), tokenizer, metrics,
               output ? &*output : nullptr, scores);
  if (output) output->commit();
  progress.clear();
  print_report(options, scores.report(), set.counts);
}

void score_predictions(const EvaluateOptions& options) {
  const evaluate::Metrics metrics = metrics_of(options, {"rouge"});
  if (metrics.loss) {
    throw Error(ErrorKind::kUsage, {.what = "predictions have no loss: it needs a model",
                                    .where = "--metrics",
                                    .expected = "rouge or qa",
                                    .found = "loss"});
  }
  evaluate::Scores scores(metrics, &stop_token());
  const evaluate::ScoredPairs pairs = evaluate::score_predictions(
      {options.predictions, options.references, options.summary_field}, scores, &stop_token());
  if (pairs.empty_references > 0 && metrics.rouge) {
    log(log_sink(), LogLevel::kWarning,
        std::to_string(pairs.empty_references) + " references are empty: ROUGE is 0 there");
  }
  std::optional<evaluate::Comparisons> comparisons;
  if (!options.baseline.empty()) {
    evaluate::Scores baseline(metrics, &stop_token());
    evaluate::score_predictions({options.baseline, options.references, options.summary_field}, baseline,
                                &stop_token());
    comparisons = scores.compare(baseline);
  }
  print_report(options, scores.report(), {}, comparisons);
}

[[noreturn]] void wrong_form(const std::string& what) {
  throw Error(ErrorKind::kUsage, {.what = what,
                                  .where = "evaluate",
                                  .expected = "MODEL --data FILE, or --predictions FILE --references FILE"});
}

void run(const EvaluateOptions& options) {
  apply_common_options(options.common);
  refuse_memory_budget(options.common, "evaluate");
  const bool scoring = !options.predictions.empty() || !options.references.empty();
  if (scoring) {
    refuse_cuda(options.common, "evaluate of predictions");
    if (!options.model.empty() || !options.data.empty()) wrong_form("both a model and predictions are given");
    if (options.predictions.empty()) wrong_form("--predictions is missing");
    if (options.references.empty()) wrong_form("--references is missing");
    for (const CLI::Option* option : options.of_model_form) {
      if (option->count() > 0) wrong_form(option->get_name() + " goes with a model alone");
    }
    if (!options.generation.empty()) wrong_form("options of generation go with a model alone");
    if (options.common.dtype) wrong_form("--dtype goes with a model alone");
    return score_predictions(options);
  }
  if (options.model.empty()) wrong_form("no model is named");
  if (options.data.empty()) wrong_form("--data is missing");
  if (!options.baseline.empty()) wrong_form("--baseline goes with predictions alone");
  evaluate_model(options);
}

// What goes with a model alone.
void add_model_form(CLI::App& command, EvaluateOptions& options) {
  const auto add = [&](CLI::Option* option) {
    options.of_model_form.push_back(option);
    return option;
  };
  add(command.add_option("--data", options.data, "JSON Lines with documents and summaries"))
      ->check(not_empty());
  add(command.add_option("--output", options.output, "JSON Lines of each document's prediction and loss"))
      ->check(not_empty());
  add(command.add_option("--window", options.window,
                         "Tokens the encoder reads at once (default: its positions)"))
      ->check(whole_number());
  add(command.add_option("--document-field", options.document_field, "Field of the document"));
  add(command.add_option("--query-field", options.query_field, "Field of the query"));
  add(command.add_option("--max-target-tokens", options.max_target_tokens,
                         "Longest target, BOS and EOS included (default: the model's positions)"))
      ->check(whole_number())
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24));
  add(command.add_option("--target-overflow", options.target_overflow, "A longer one is an error, or is cut"))
      ->check(CLI::IsMember({"error", "truncate"}))
      ->capture_default_str();
  add(command.add_option("--on-empty-summary", options.on_empty_summary,
                         "A row without one is an error, or left out"))
      ->check(CLI::IsMember({"error", "skip"}))
      ->capture_default_str();
  for (CLI::Option* option : add_reading_options(command, options.reading)) add(option);
}

}  // namespace

void add_evaluate(CLI::App& app) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App& command =
      *app.add_subcommand("evaluate", "Loss and ROUGE of a model on a data set, or scores of predictions");
  command.footer(
      "Examples:\n"
      "  precis evaluate models/my-bart --data validation.jsonl --output predictions.jsonl --num-beams 4\n"
      "  precis evaluate --predictions predictions.jsonl --references validation.jsonl");
  command.add_option("model", options->model, "The model's directory")->check(not_empty());
  command
      .add_option("--predictions", options->predictions,
                  "JSON Lines with `id` and `prediction` (or `summary`)")
      ->check(not_empty());
  command
      .add_option("--references", options->references, "JSON Lines with `id` and `summary` or `summaries`")
      ->check(not_empty());
  command
      .add_option("--baseline", options->baseline,
                  "Another system's predictions: prints the differences and, from the paired bootstrap, "
                  "their one-sided p-values")
      ->check(not_empty());
  command
      .add_option("--metrics", options->metrics,
                  "rouge; qa: exact match and F1 of SQuAD, in percent; loss: of a model (default: rouge, and "
                  "the loss of a model)")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--format", options->format, "How the scores are printed")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command.add_option("--summary-field", options->summary_field, "Field of the summary");
  command.add_flag("--no-stemmer", options->no_stemmer, "ROUGE without stemming");
  add_model_form(command, *options);
  add_generation_options(command, options->generation);
  add_common_options(command, options->common);
  command.callback([options] { run(*options); });
}

}  // namespace precis::cli

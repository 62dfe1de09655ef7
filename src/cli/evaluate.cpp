// precis evaluate: the loss of a data set and ROUGE of what a model writes for it, or of predictions at hand.
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include "base/file_system.h"
#include "cli/generation_options.h"
#include "cli/program.h"
#include "cli/progress.h"
#include "data/documents.h"
#include "data/rows.h"
#include "evaluate/examples.h"
#include "evaluate/model_results.h"
#include "evaluate/report.h"
#include "io/model_directory.h"
#include "models/bart/bart.h"
#include "text/tokenizer.h"

namespace precis::cli {

namespace {

struct EvaluateOptions {
  CommonOptions common;
  std::string model, data;              // the form with a model
  std::string predictions, references;  // the form that scores
  std::vector<std::string> metrics;
  std::string output;
  std::string format = "text";
  std::string document_field, summary_field, query_field;
  std::optional<int64_t> window;
  std::optional<int64_t> max_target_tokens;
  std::string target_overflow = "error";
  std::string on_empty_summary = "error";
  bool no_stemmer = false;
  Json generation = Json::object();
};

evaluate::Metrics metrics_of(const EvaluateOptions& options, std::vector<std::string> otherwise) {
  evaluate::Metrics metrics = evaluate::parse_metrics(options.metrics.empty() ? otherwise : options.metrics);
  metrics.stemmer = !options.no_stemmer;
  return metrics;
}

// A data set as ids, with what ROUGE compares to.
struct Set {
  std::vector<memory::Example> examples;
  std::vector<std::vector<std::string>> references;
  evaluate::ExampleCounts counts;
};

Set read_set(const EvaluateOptions& options, const Tokenizer& tokenizer, const models::BartConfig& model) {
  const evaluate::ExampleOptions example_options = {
      // The decoder has no positions for more.
      .max_target_tokens = std::min(options.max_target_tokens.value_or(model.max_position_embeddings),
                                    model.max_position_embeddings),
      .truncate_long_targets = options.target_overflow == "truncate",
      .skip_empty_summaries = options.on_empty_summary == "skip"};
  DocumentReader reader(options.data, {.format = InputFormat::kJsonLines,
                                       .document_field = options.document_field,
                                       .summary_field = options.summary_field,
                                       .query_field = options.query_field});
  Set set;
  while (const std::optional<Document> document = reader.next()) {
    check_stop();
    std::optional<memory::Example> example =
        evaluate::make_example(*document, tokenizer, model, example_options, set.counts);
    if (!example) continue;
    set.examples.push_back(*std::move(example));
    set.references.push_back(document->summaries);
  }
  if (set.examples.empty()) {
    throw Error(ErrorKind::kData, {.what = "no rows to evaluate", .where = options.data});
  }
  return set;
}

Json interval_json(const evaluate::RougeMean& mean) {
  return {{"precision", mean.precision},
          {"recall", mean.recall},
          {"fmeasure", mean.fmeasure.value},
          {"low", mean.fmeasure.interval.low},
          {"high", mean.fmeasure.interval.high}};
}

Json report_json(const evaluate::Report& report) {
  Json json = {{"documents", report.documents}};
  if (report.loss) {
    json["loss"] = *report.loss;
    json["tokens"] = report.tokens;
  }
  if (report.rouge) {
    for (size_t type = 0; type < report.rouge->size(); ++type) {
      json[evaluate::kRougeNames[type]] = interval_json((*report.rouge)[type]);
    }
  }
  return json;
}

std::string report_text(const evaluate::Report& report) {
  char line[128];
  std::snprintf(line, sizeof line, "%ld documents\n", report.documents);
  std::string text = line;
  if (report.loss) {
    std::snprintf(line, sizeof line, "loss %.4f a token, over %ld tokens\n", *report.loss, report.tokens);
    text += line;
  }
  if (!report.rouge) return text;
  std::snprintf(line, sizeof line, "\n%-10s %9s   %-15s %9s %9s\n", "", "F-measure", "95 % interval",
                "precision", "recall");
  text += line;
  for (size_t type = 0; type < report.rouge->size(); ++type) {
    const evaluate::RougeMean& mean = (*report.rouge)[type];
    std::snprintf(line, sizeof line, "%-10s %9.2f   %6.2f to %5.2f %9.2f %9.2f\n",
                  evaluate::kRougeNames[type], 100 * mean.fmeasure.value, 100 * mean.fmeasure.interval.low,
                  100 * mean.fmeasure.interval.high, 100 * mean.precision, 100 * mean.recall);
    text += line;
  }
  return text;
}

void print_report(const EvaluateOptions& options, const evaluate::Report& report,
                  const evaluate::ExampleCounts& counts) {
  if (options.format == "text") return write_result(report_text(report));
  Json json = report_json(report);
  if (counts.skipped_without_summary > 0) json["skipped_without_summary"] = counts.skipped_without_summary;
  if (counts.truncated_targets > 0) json["truncated_targets"] = counts.truncated_targets;
  write_result(pretty_json(json));
}

void tell_counts(const evaluate::ExampleCounts& counts) {
  if (counts.skipped_without_summary > 0) {
    log(log_sink(), LogLevel::kWarning,
        std::to_string(counts.skipped_without_summary) + " rows without a summary are left out");
  }
  if (counts.truncated_targets > 0) {
    log(log_sink(), LogLevel::kWarning, std::to_string(counts.truncated_targets) + " targets are cut");
  }
}

void evaluate_model(const EvaluateOptions& options) {
  const evaluate::Metrics metrics = metrics_of(options, {"rouge", "loss"});
  // Made now: an output that can't be written is found before the long work.
  std::optional<FileReplacement> output;
  if (!options.output.empty()) output.emplace(posix_file_system(), options.output);

  const models::BartModel model = models::BartModel::load(options.model, scalar_type(options.common));
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  const Set set = read_set(options, tokenizer, model.config());
  tell_counts(set.counts);

  Progress progress(log_sink(), !options.common.quiet && options.common.log_format == "text");
  evaluate::ModelRequest request;
  request.window = options.window.value_or(model.config().max_position_embeddings);
  request.loss = metrics.loss;
  if (metrics.rouge) {
    request.generation = generate::resolve_generation_config(options.model, model.config(),
                                                             options.generation, progress.wrap(log_sink()));
  }
  request.stop = &stop_token();
  const std::string all = std::to_string(set.examples.size());
  request.progress = [&](double done, const std::string& doing) {
    progress.update(done / static_cast<double>(set.examples.size()),
                    std::to_string(static_cast<int64_t>(done)) + " of " + all + " documents" +
                        (doing.empty() ? "" : ": " + doing));
  };
  const std::vector<evaluate::ModelResult> results = evaluate::model_results(model, set.examples, request);

  evaluate::Scores scores(metrics);
  for (size_t i = 0; i < results.size(); ++i) {
    const evaluate::ModelResult& result = results[i];
    Json row = {{"id", set.examples[i].id}};
    if (metrics.rouge) {
      const std::string prediction = tokenizer.decode(result.summary, /*skip_special=*/true);
      scores.add_prediction(set.references[i], prediction);
      row["prediction"] = prediction;
    }
    if (metrics.loss) {
      scores.add_loss(result.loss);
      row["loss"] = result.loss.nll_sum / static_cast<double>(result.loss.tokens);
      row["tokens"] = result.loss.tokens;
    }
    if (output) output->write(row.dump() + "\n");
  }
  if (output) output->commit();
  progress.clear();
  print_report(options, scores.report(), set.counts);
}

std::string required_id(const Row& row) {
  const std::optional<std::string> id = row_id(row);
  if (!id) refuse_row(row.where, "no field 'id' in the row", "the id that joins predictions and references");
  return *id;
}

[[noreturn]] void repeated_id(const Row& row, const std::string& id) {
  refuse_row(row.where, "the id '" + id + "' is there twice", "one row an id");
}

std::map<std::string, std::string> read_predictions(const std::string& file) {
  std::map<std::string, std::string> predictions;
  RowReader reader(file);
  while (const std::optional<Row> row = reader.next()) {
    check_stop();
    const std::string id = required_id(*row);
    const char* const field = find_field(*row, "prediction") != nullptr ? "prediction" : "summary";
    const std::string text = string_field(*row, required_field(*row, field), field);
    if (!predictions.emplace(id, text).second) repeated_id(*row, id);
  }
  return predictions;
}

std::vector<std::string> references_of(const Row& row) {
  if (const Json* list = find_field(row, "summaries")) {
    std::vector<std::string> references = string_list_field(row, *list, "summaries");
    if (references.empty()) refuse_row(row.where, "no reference in `summaries`");
    return references;
  }
  return {string_field(row, required_field(row, "summary"), "summary")};
}

void score_predictions(const EvaluateOptions& options) {
  const evaluate::Metrics metrics = metrics_of(options, {"rouge"});
  if (metrics.loss) {
    throw Error(ErrorKind::kUsage, {.what = "predictions have no loss: it needs a model",
                                    .where = "--metrics",
                                    .expected = "rouge",
                                    .found = "loss"});
  }
  std::map<std::string, std::string> predictions = read_predictions(options.predictions);
  evaluate::Scores scores(metrics);
  std::map<std::string, int64_t> seen;
  RowReader reader(options.references);
  while (const std::optional<Row> row = reader.next()) {
    check_stop();
    const std::string id = required_id(*row);
    if (!seen.emplace(id, row->line).second) repeated_id(*row, id);
    const auto prediction = predictions.find(id);
    if (prediction == predictions.end()) {
      refuse_row(row->where, "no prediction for the id '" + id + "' in " + options.predictions);
    }
    scores.add_prediction(references_of(*row), prediction->second);
    predictions.erase(prediction);
  }
  if (!predictions.empty()) {
    refuse_row(options.predictions,
               "no reference for the id '" + predictions.begin()->first + "' in " + options.references);
  }
  if (seen.empty()) throw Error(ErrorKind::kData, {.what = "no rows to score", .where = options.references});
  print_report(options, scores.report(), {});
}

[[noreturn]] void wrong_form(const std::string& what) {
  throw Error(ErrorKind::kUsage, {.what = what,
                                  .where = "evaluate",
                                  .expected = "MODEL --data FILE, or --predictions FILE --references FILE"});
}

void run(const EvaluateOptions& options) {
  apply_common_options(options.common);
  refuse_cuda(options.common, "evaluate");
  const bool scoring = !options.predictions.empty() || !options.references.empty();
  if (!options.common.memory_budget.empty()) {
    throw Error(ErrorKind::kUnsupported,
                {.what = "evaluate does not keep to a memory budget yet", .where = "--memory-budget"});
  }
  if (scoring) {
    if (!options.model.empty() || !options.data.empty()) wrong_form("both a model and predictions are given");
    if (options.predictions.empty()) wrong_form("--predictions is missing");
    if (options.references.empty()) wrong_form("--references is missing");
    if (!options.output.empty()) wrong_form("--output goes with a model: predictions are at hand already");
    return score_predictions(options);
  }
  if (options.model.empty()) wrong_form("no model is named");
  if (options.data.empty()) wrong_form("--data is missing");
  evaluate_model(options);
}

}  // namespace

void add_evaluate(CLI::App& app) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App& command =
      *app.add_subcommand("evaluate", "Loss and ROUGE of a model on a data set, or ROUGE of predictions");
  command.footer(
      "Examples:\n"
      "  precis evaluate models/my-bart --data validation.jsonl --output predictions.jsonl --num-beams 4\n"
      "  precis evaluate --predictions predictions.jsonl --references validation.jsonl");
  command.add_option("model", options->model, "The model's directory");
  command.add_option("--data", options->data, "JSON Lines with documents and summaries");
  command.add_option("--predictions", options->predictions, "JSON Lines with `id` and `prediction`");
  command.add_option("--references", options->references,
                     "JSON Lines with `id` and `summary` or `summaries`");
  command.add_option("--metrics", options->metrics, "rouge,loss (default: what the form can give)")
      ->delimiter(',')
      ->expected(1);
  command.add_option("--output", options->output, "JSON Lines of each document's prediction and loss");
  command.add_option("--format", options->format, "How the scores are printed")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command.add_option("--window", options->window,
                     "Tokens the encoder reads at once (default: its positions)");
  command.add_option("--document-field", options->document_field, "Field of the document");
  command.add_option("--summary-field", options->summary_field, "Field of the summary");
  command.add_option("--query-field", options->query_field, "Field of the query");
  command
      .add_option("--max-target-tokens", options->max_target_tokens, "Longest target, BOS and EOS included")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24));
  command.add_option("--target-overflow", options->target_overflow, "A longer one is an error, or is cut")
      ->check(CLI::IsMember({"error", "truncate"}))
      ->capture_default_str();
  command
      .add_option("--on-empty-summary", options->on_empty_summary,
                  "A row without one is an error, or left out")
      ->check(CLI::IsMember({"error", "skip"}))
      ->capture_default_str();
  command.add_flag("--no-stemmer", options->no_stemmer, "ROUGE without stemming");
  add_generation_options(command, options->generation);
  add_common_options(command, options->common);
  command.callback([options] { run(*options); });
}

}  // namespace precis::cli

// Scores as JSON and as a table.
#include "cli/evaluate_report.h"

#include <cstdio>

#include "cli/numbers.h"

namespace precis::cli {

namespace {

Json rouge_json(const evaluate::RougeMean& mean) {
  return {{"precision", mean.precision},
          {"recall", mean.recall},
          {"fmeasure", mean.fmeasure.value},
          {"low", mean.fmeasure.interval.low},
          {"high", mean.fmeasure.interval.high}};
}

// A name, a score with its interval, all in percent, and whatever stands behind them.
std::string table_line(const char* name, double score, const evaluate::Interval& interval,
                       const std::string& rest = "") {
  char line[128];
  std::snprintf(line, sizeof line, "%-12s %8.2f   %6.2f to %6.2f", name, score, interval.low, interval.high);
  return line + rest + "\n";
}

std::string rouge_line(const char* name, const evaluate::RougeMean& mean) {
  char rest[64];
  std::snprintf(rest, sizeof rest, " %11.2f %8.2f", 100 * mean.precision, 100 * mean.recall);
  const evaluate::Interval& interval = mean.fmeasure.interval;
  return table_line(name, 100 * mean.fmeasure.value, {100 * interval.low, 100 * interval.high}, rest);
}

Json comparison_json(const evaluate::Comparison& comparison, const char* score) {
  return {{score, comparison.baseline},
          {"difference", comparison.paired.difference},
          {"p_value", comparison.paired.share_not_better}};
}

std::string comparison_line(const char* name, const evaluate::Comparison& comparison, double scale) {
  char line[96];
  std::snprintf(line, sizeof line, "%-12s %8.2f %11.2f %9.3f\n", name, scale * comparison.baseline,
                scale * comparison.paired.difference, comparison.paired.share_not_better);
  return line;
}

}  // namespace

Json report_json(const evaluate::Report& report, const evaluate::ExampleCounts& counts) {
  Json json = {{"documents", report.documents}};
  if (report.loss) {
    json["loss"] = *report.loss;
    json["tokens"] = report.tokens;
  }
  if (report.rouge) {
    for (size_t type = 0; type < report.rouge->size(); ++type) {
      json[evaluate::kRougeNames[type]] = rouge_json((*report.rouge)[type]);
    }
  }
  if (report.exact_match) json["exact_match"] = report.exact_match->value;
  if (report.f1) json["f1"] = report.f1->value;
  if (counts.skipped_lines > 0) json["skipped_lines"] = counts.skipped_lines;
  if (counts.skipped_without_summary > 0) json["skipped_without_summary"] = counts.skipped_without_summary;
  if (counts.truncated_targets > 0) json["truncated_targets"] = counts.truncated_targets;
  return json;
}

std::string report_text(const evaluate::Report& report) {
  std::string text = grouped(report.documents) + (report.documents == 1 ? " document\n" : " documents\n");
  if (report.loss) {
    char line[64];
    std::snprintf(line, sizeof line, "loss %.4f a token, over ", *report.loss);
    text += line + grouped(report.tokens) + " tokens\n";
  }
  if (!report.rouge && !report.exact_match) return text;
  text += report.rouge ? "\n               score    95 % interval     precision   recall\n"
                       : "\n               score    95 % interval\n";
  if (report.rouge) {
    for (size_t type = 0; type < report.rouge->size(); ++type) {
      text += rouge_line(evaluate::kRougeNames[type], (*report.rouge)[type]);
    }
  }
  if (report.exact_match)
    text += table_line("exact match", report.exact_match->value, report.exact_match->interval);
  if (report.f1) text += table_line("f1", report.f1->value, report.f1->interval);
  return text;
}

Json comparisons_json(const evaluate::Comparisons& comparisons) {
  Json json = Json::object();
  if (comparisons.rouge) {
    for (size_t type = 0; type < comparisons.rouge->size(); ++type) {
      json[evaluate::kRougeNames[type]] = comparison_json((*comparisons.rouge)[type], "fmeasure");
    }
  }
  if (comparisons.exact_match) json["exact_match"] = comparison_json(*comparisons.exact_match, "score");
  if (comparisons.f1) json["f1"] = comparison_json(*comparisons.f1, "score");
  return json;
}

std::string comparisons_text(const evaluate::Comparisons& comparisons, const std::string& name) {
  std::string text = "\nbeside " + name + "\n               score  difference   p-value\n";
  if (comparisons.rouge) {
    for (size_t type = 0; type < comparisons.rouge->size(); ++type) {
      text += comparison_line(evaluate::kRougeNames[type], (*comparisons.rouge)[type], 100);
    }
  }
  if (comparisons.exact_match) text += comparison_line("exact match", *comparisons.exact_match, 1);
  if (comparisons.f1) text += comparison_line("f1", *comparisons.f1, 1);
  return text;
}

}  // namespace precis::cli

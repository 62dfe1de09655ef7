// Means over documents.
#include "evaluate/report.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/suggest.h"
#include "evaluate/answers.h"

namespace precis::evaluate {

namespace {

constexpr double kPercent = 100.0;

double plain_mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

Mean mean_of(const std::vector<double>& values) { return {plain_mean(values), bootstrap_mean(values)}; }

std::vector<double> fmeasures_of(const std::vector<Score>& scores) {
  std::vector<double> fmeasures(scores.size());
  std::transform(scores.begin(), scores.end(), fmeasures.begin(),
                 [](const Score& score) { return score.fmeasure; });
  return fmeasures;
}

Comparison compare_values(const std::vector<double>& values, const std::vector<double>& baseline) {
  return {plain_mean(baseline), paired_bootstrap(values, baseline)};
}

RougeMean rouge_mean(const std::vector<Score>& scores) {
  RougeMean mean;
  for (const Score& score : scores) {
    mean.precision += score.precision;
    mean.recall += score.recall;
  }
  mean.precision /= static_cast<double>(scores.size());
  mean.recall /= static_cast<double>(scores.size());
  mean.fmeasure = mean_of(fmeasures_of(scores));
  return mean;
}

}  // namespace

Metrics parse_metrics(const std::vector<std::string>& names) {
  Metrics metrics;
  for (const std::string& name : names) {
    bool* const metric = name == "rouge"  ? &metrics.rouge
                         : name == "qa"   ? &metrics.qa
                         : name == "loss" ? &metrics.loss
                                          : nullptr;
    if (metric == nullptr) {
      const std::string near = nearest_name(name, {"rouge", "qa", "loss"});
      throw Error(ErrorKind::kUsage, {.what = "unknown metric",
                                      .where = "--metrics",
                                      .expected = "rouge, qa or loss, with commas between",
                                      .found = "'" + name + "'",
                                      .hint = near.empty() ? "" : "did you mean " + near + "?"});
    }
    *metric = true;
  }
  if (names.empty()) {
    throw Error(ErrorKind::kUsage,
                {.what = "no metric is named", .where = "--metrics", .expected = "rouge, qa or loss"});
  }
  return metrics;
}

void Scores::add_prediction(std::span<const std::string> references, const std::string& prediction) {
  ++predictions_;
  if (metrics_.rouge) {
    const RougeScores scores = rouge(references, prediction, metrics_.stemmer, stop_);
    for (size_t type = 0; type < scores.size(); ++type) rouge_[type].push_back(scores[type]);
  }
  if (metrics_.qa) {
    const AnswerScore score = answer_score(references, prediction);
    exact_match_.push_back(kPercent * score.exact_match);
    f1_.push_back(kPercent * score.f1);
  }
}

void Scores::add_loss(const memory::DocumentLoss& loss) {
  ++losses_;
  nll_sum_ += loss.nll_sum;
  tokens_ += loss.tokens;
}

Report Scores::report() const {
  Report report;
  report.documents = std::max(predictions_, losses_);
  if (metrics_.rouge) {
    report.rouge.emplace();
    for (size_t type = 0; type < rouge_.size(); ++type) (*report.rouge)[type] = rouge_mean(rouge_[type]);
  }
  if (metrics_.qa) {
    report.exact_match = mean_of(exact_match_);
    report.f1 = mean_of(f1_);
  }
  if (metrics_.loss) {
    report.loss = nll_sum_ / static_cast<double>(tokens_);
    report.tokens = tokens_;
  }
  return report;
}

Comparisons Scores::compare(const Scores& baseline) const {
  Comparisons comparisons;
  if (metrics_.rouge) {
    comparisons.rouge.emplace();
    for (size_t type = 0; type < rouge_.size(); ++type) {
      (*comparisons.rouge)[type] =
          compare_values(fmeasures_of(rouge_[type]), fmeasures_of(baseline.rouge_[type]));
    }
  }
  if (metrics_.qa) {
    comparisons.exact_match = compare_values(exact_match_, baseline.exact_match_);
    comparisons.f1 = compare_values(f1_, baseline.f1_);
  }
  return comparisons;
}

}  // namespace precis::evaluate

// Loss and ROUGE of a data set during training.
#include "train/validation.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "evaluate/model_results.h"

namespace precis::train {

double ValidationResult::metric(const std::string& name) const {
  if (name == "loss") return loss;
  for (size_t type = 0; type < evaluate::kRougeNames.size(); ++type) {
    if (name == evaluate::kRougeNames[type]) return rouge.value()[type];
  }
  throw Error(ErrorKind::kInternal, {.what = "unknown metric", .found = name});
}

bool is_better(const std::string& metric, double value, double than) {
  return metric == "loss" ? value < than : value > than;
}

ValidationResult validate(const models::BartModel& model, const Tokenizer& tokenizer, const Dataset& set,
                          const ValidationRequest& request) {
  ValidationResult result;
  result.documents = static_cast<int64_t>(set.examples.size());
  const double documents = static_cast<double>(result.documents);
  evaluate::ModelRequest model_request;
  model_request.window = request.window;
  model_request.generation = request.generation;
  model_request.held_layers = request.streamed ? 0 : model.config().decoder_layers;
  model_request.stop = request.stop;
  model_request.ranks = request.ranks;
  if (request.progress) {
    model_request.progress = [&](double done, const std::string&) {
      request.progress(static_cast<int64_t>(done), result.documents);
    };
  }
  const std::vector<evaluate::ModelResult> results =
      evaluate::model_results(model, set.examples, model_request);
  double nll_sum = 0.0;
  int64_t written = 0;
  std::array<double, 4> rouge = {};
  for (size_t i = 0; i < results.size(); ++i) {
    nll_sum += results[i].loss.nll_sum;
    result.tokens += results[i].loss.tokens;
    if (!request.generation) continue;
    const generate::TokenSequence& ids = results[i].summary;
    written += std::count_if(ids.begin(), ids.end(), [&](int32_t id) { return !tokenizer.is_special(id); });
    const evaluate::RougeScores scores = evaluate::rouge(
        set.references[i], tokenizer.decode(ids, /*skip_special=*/true), /*stemmer=*/true, request.stop);
    for (size_t type = 0; type < rouge.size(); ++type) rouge[type] += scores[type].fmeasure / documents;
  }
  result.loss = nll_sum / static_cast<double>(result.tokens);
  if (request.generation) {
    result.rouge = rouge;
    result.mean_length = static_cast<double>(written) / documents;
  }
  return result;
}

}  // namespace precis::train

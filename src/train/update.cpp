// One update of the parameters.
#include "train/update.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "nn/device.h"
#include "nn/rank_sum.h"

namespace precis::train {

namespace {

std::string ids_of(const UpdateDocuments& documents) {
  constexpr int64_t kShown = 16;
  std::string ids;
  for (int64_t i = 0; i < std::min(documents.count, kShown); ++i) {
    ids += (i == 0 ? "" : ", ") + documents.at(i).id;
  }
  if (documents.count > kShown) ids += " and " + std::to_string(documents.count - kShown) + " more";
  return ids;
}

std::string joined(const std::vector<std::string>& of_ranks) {
  std::string all;
  for (const std::string& ids : of_ranks) all += (all.empty() || ids.empty() ? "" : ", ") + ids;
  return all;
}

[[noreturn]] void non_finite(const char* what, double value, int64_t step, const std::string& documents) {
  throw Error(ErrorKind::kNonFinite,
              {.what = std::string("the ") + what + " is not finite; the weights are untouched",
               .where = "step " + std::to_string(step) + ", documents " + documents,
               .found = std::to_string(value),
               .hint = "lower the learning rate, or look at these documents"});
}

}  // namespace

UpdateDocuments documents_of(const std::vector<memory::Example>& examples) {
  UpdateDocuments documents{.count = static_cast<int64_t>(examples.size())};
  for (const memory::Example& example : examples) {
    documents.target_tokens += static_cast<int64_t>(example.target.size());
  }
  documents.at = [&examples](int64_t index) { return examples[static_cast<size_t>(index)]; };
  return documents;
}

UpdateResult apply_update(const models::BartModel& model, Optimizer& optimizer,
                          const UpdateDocuments& documents, const UpdateOptions& options,
                          const StopToken* stop) {
  const nn::OneOrder same_bits(model.device());  // a resumed run is the run that was not interrupted
  UpdateResult result{.target_tokens = documents.target_tokens};
  memory::GradientOptions gradient = options.gradient;
  gradient.weight = 1.0 / static_cast<double>(result.target_tokens);
  const int64_t step = gradient.dropout.step;

  optimizer.zero_gradients();
  if (options.ranks != nullptr) gradient.ranks = &options.ranks->group();
  double sums[] = {0.0, 0.0};  // of nll and of source tokens
  std::string broken;          // the documents of the first batch whose loss is not finite
  std::vector<memory::Example> batch;
  const auto compute = [&] {
    if (batch.empty()) return;
    const memory::BatchLoss loss = memory::accumulate_gradient(model, batch, gradient, stop);
    if (!std::isfinite(loss.nll_sum) && broken.empty()) broken = ids_of(documents_of(batch));
    sums[0] += loss.nll_sum;
    sums[1] += static_cast<double>(loss.source_tokens);
    batch.clear();
    // Other ranks hear of it when they have done their part.
    if (options.ranks == nullptr && !std::isfinite(sums[0])) non_finite("loss", sums[0], step, broken);
  };
  for (int64_t i = 0; i < documents.count; ++i) {
    if (options.ranks != nullptr && !options.ranks->has(i)) continue;
    batch.push_back(documents.at(i));
    if (static_cast<int64_t>(batch.size()) == options.batch_documents) compute();
  }
  compute();
  if (options.ranks != nullptr) {
    parallel::Communicator& all = options.ranks->all();
    all.sum(sums, 2);
    if (!std::isfinite(sums[0])) non_finite("loss", sums[0], step, joined(all.gather(broken)));
    for (const auto& [name, parameter] : model.parameters()) nn::sum_over(all, parameter.grad());
  }
  result.source_tokens = static_cast<int64_t>(sums[1]);
  result.loss = sums[0] / static_cast<double>(result.target_tokens);
  result.grad_norm = gradient_norm(model.parameters());
  if (!std::isfinite(result.grad_norm)) {
    non_finite("norm of the gradient", result.grad_norm, step, ids_of(documents));
  }
  if (options.clip_norm > 0) clip_gradients(model.parameters(), result.grad_norm, options.clip_norm);
  optimizer.step(options.learning_rate);
  return result;
}

}  // namespace precis::train

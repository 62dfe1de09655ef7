// One update of the parameters.
#include "train/update.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "base/error.h"

namespace precis::train {

namespace {

std::string document_ids(std::span<const memory::Example> examples) {
  constexpr size_t kShown = 16;
  std::string ids;
  for (size_t i = 0; i < std::min(examples.size(), kShown); ++i) ids += (i == 0 ? "" : ", ") + examples[i].id;
  if (examples.size() > kShown) ids += " and " + std::to_string(examples.size() - kShown) + " more";
  return ids;
}

[[noreturn]] void non_finite(const char* what, double value, int64_t step,
                             std::span<const memory::Example> examples) {
  throw Error(ErrorKind::kNonFinite,
              {.what = std::string("the ") + what + " is not finite; the weights are untouched",
               .where = "step " + std::to_string(step) + ", documents " + document_ids(examples),
               .found = std::to_string(value),
               .hint = "lower the learning rate, or look at these documents"});
}

}  // namespace

UpdateResult apply_update(const models::BartModel& model, Optimizer& optimizer,
                          const std::vector<memory::Example>& examples, const UpdateOptions& options,
                          const StopToken* stop) {
  UpdateResult result;
  for (const memory::Example& example : examples)
    result.target_tokens += static_cast<int64_t>(example.target.size());
  memory::GradientOptions gradient = options.gradient;
  gradient.weight = 1.0 / static_cast<double>(result.target_tokens);

  optimizer.zero_gradients();
  double nll_sum = 0.0;
  const std::span<const memory::Example> all(examples);
  for (size_t begin = 0; begin < all.size(); begin += options.batch_documents) {
    const auto batch = all.subspan(begin, std::min<size_t>(options.batch_documents, all.size() - begin));
    const memory::BatchLoss loss =
        memory::accumulate_gradient(model, {batch.begin(), batch.end()}, gradient, stop);
    if (!std::isfinite(loss.nll_sum)) non_finite("loss", loss.nll_sum, gradient.dropout.step, batch);
    nll_sum += loss.nll_sum;
    result.source_tokens += loss.source_tokens;
  }
  result.loss = nll_sum / static_cast<double>(result.target_tokens);
  result.grad_norm = gradient_norm(model.parameters());
  if (!std::isfinite(result.grad_norm)) {
    non_finite("norm of the gradient", result.grad_norm, gradient.dropout.step, all);
  }
  if (options.clip_norm > 0) clip_gradients(model.parameters(), result.grad_norm, options.clip_norm);
  optimizer.step(options.learning_rate);
  return result;
}

}  // namespace precis::train

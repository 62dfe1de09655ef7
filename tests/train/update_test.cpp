// Token-weighted updates, and updates that must not happen (RELIABILITY, case 11).
#include "train/update.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "memory/small_bart.h"

namespace precis::train {
namespace {

std::vector<at::Tensor> values(const models::BartModel& model) {
  std::vector<at::Tensor> copies;
  for (const auto& [name, parameter] : model.parameters()) copies.push_back(parameter.detach().clone());
  return copies;
}

double distance(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]).square().sum().item<double>();
  return std::sqrt(sum);
}

UpdateOptions options(int64_t batch_documents) {
  UpdateOptions result;
  result.gradient.window = 23;
  result.gradient.dropout = {.hidden = 0.1, .attention = 0.1, .activation = 0.1, .seed = 5, .step = 1};
  result.batch_documents = batch_documents;
  result.learning_rate = 0.1;
  return result;
}

const std::vector<memory::Example> kDocuments = {example(60, 8, 4), example(11, 5, 5), example(0, 3, 6),
                                                 example(90, 17, 7)};

TEST(Update, SplittingTheBatchChangesNothing) {
  std::vector<std::vector<at::Tensor>> after;
  for (const int64_t together : {4, 1, 3}) {
    models::BartModel model = small_bart();
    model.set_requires_grad(true);
    Optimizer optimizer(model.parameters(), {.name = OptimizerName::kSgd});
    const UpdateResult result = apply_update(model, optimizer, documents_of(kDocuments), options(together));
    EXPECT_EQ(result.target_tokens, 41);
    EXPECT_EQ(result.source_tokens, 161);
    after.push_back(values(model));
  }
  for (size_t i = 0; i < after[0].size(); ++i) {
    EXPECT_TRUE(at::allclose(after[1][i], after[0][i], 0, 1e-12));  // sums in another order, in double
    EXPECT_TRUE(at::allclose(after[2][i], after[0][i], 0, 1e-12));
  }
}

TEST(Update, ClippedStepHasTheClippedLength) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  Optimizer optimizer(model.parameters(), {.name = OptimizerName::kSgd});
  const std::vector<at::Tensor> before = values(model);
  UpdateOptions clipped = options(4);
  clipped.clip_norm = 0.01;
  const UpdateResult result = apply_update(model, optimizer, documents_of(kDocuments), clipped);
  EXPECT_GT(result.grad_norm, 0.02);
  const double length = distance(values(model), before);
  EXPECT_NEAR(length, 0.1 * 0.01, 1e-6);  // the 1e-6 beside the norm
  EXPECT_LT(length, 0.1 * 0.01);
}

TEST(Update, StepBelowTheBoundIsNotClipped) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  Optimizer optimizer(model.parameters(), {.name = OptimizerName::kSgd});
  const std::vector<at::Tensor> before = values(model);
  UpdateOptions unclipped = options(4);
  unclipped.clip_norm = 1e6;
  const UpdateResult result = apply_update(model, optimizer, documents_of(kDocuments), unclipped);
  EXPECT_NEAR(distance(values(model), before), 0.1 * result.grad_norm, 1e-12 * result.grad_norm);
}

TEST(Update, NonFiniteValuesNeverReachTheWeights) {
  for (const double poison :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    models::BartModel model = small_bart();
    model.set_requires_grad(true);
    Optimizer optimizer(model.parameters(), {.name = OptimizerName::kAdamW});
    {
      // One row of the embedding, which one document alone reads.
      const at::NoGradGuard no_grad;
      model.parameters().front().second[50].fill_(poison);
    }
    ASSERT_EQ(model.parameters().front().first, "model.shared.weight");
    const std::vector<at::Tensor> before = values(model);
    try {
      apply_update(model, optimizer, documents_of(kDocuments), options(1));
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNonFinite);
      EXPECT_NE(std::string(error.what()).find("documents 4"), std::string::npos) << error.what();
    }
    EXPECT_EQ(optimizer.steps(), 0);
    const std::vector<at::Tensor> after = values(model);
    for (size_t i = 0; i < after.size(); ++i) EXPECT_TRUE(at::allclose(after[i], before[i], 0, 0, true));
  }
}

TEST(Update, NonFiniteGradientOfAFiniteLossIsCaught) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  Optimizer optimizer(model.parameters(), {.name = OptimizerName::kSgd});
  model.parameters().front().second.register_hook(
      [](const at::Tensor& gradient) { return gradient * std::numeric_limits<double>::infinity(); });
  const std::vector<at::Tensor> before = values(model);
  EXPECT_THROW(apply_update(model, optimizer, documents_of(kDocuments), options(4)), Error);
  EXPECT_TRUE(at::equal(values(model)[3], before[3]));
}

TEST(Update, StopInBetweenLeavesTheWeights) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  Optimizer optimizer(model.parameters(), {.name = OptimizerName::kAdamW});
  StopToken stop;
  UpdateDocuments documents = documents_of(kDocuments);
  int64_t made = 0;
  documents.at = [&](int64_t index) {  // requested while the second batch begins
    if (++made == 2) stop.request(ErrorKind::kTerminated);
    return kDocuments[static_cast<size_t>(index)];
  };
  const std::vector<at::Tensor> before = values(model);
  try {
    apply_update(model, optimizer, documents, options(1), &stop);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kTerminated);
  }
  EXPECT_EQ(made, 2);
  EXPECT_EQ(optimizer.steps(), 0);
  EXPECT_EQ(distance(values(model), before), 0.0);
  for (const auto& [name, tensor] : optimizer.state())
    EXPECT_EQ(tensor.abs().max().item<double>(), 0.0) << name;
}

}  // namespace
}  // namespace precis::train

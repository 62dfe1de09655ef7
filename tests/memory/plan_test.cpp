// The plan beside what a step's tensors really hold at once.
#include "memory/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error_of.h"
#include "memory/peak_meter.h"
#include "memory/small_bart.h"

namespace precis::memory {
namespace {

using ::testing::HasSubstr;

models::BartModel wide_bart() {
  models::BartConfig config = small_config();
  config.vocab_size = 3000;
  config.max_position_embeddings = 256;
  config.d_model = 96;
  config.encoder_ffn_dim = config.decoder_ffn_dim = 384;
  config.init_std = 0.02;
  models::BartModel model = models::BartModel::initialize(config, 3, at::kFloat);
  model.set_requires_grad(true);
  for (const auto& [name, parameter] : model.parameters()) {
    at::Tensor(parameter).mutable_grad() = at::zeros_like(parameter);  // as the optimiser makes them
  }
  return model;
}

// What the step itself takes, above the program, the weights and what stands beside them.
int64_t of_the_step(const MemoryPlan& plan) { return plan.tensors() - plan.throughout.bytes(); }

struct Case {
  int64_t documents, text, query, target, window;
  double attention_dropout = 0, hidden_dropout = 0;
};

TEST(MemoryPlan, IsNotBelowAndNotFarAboveWhatAStepHolds) {
  const models::BartModel model = wide_bart();
  for (const Case& c : {Case{1, 6000, 0, 60, 256}, Case{1, 5000, 20, 200, 64}, Case{8, 700, 0, 60, 128},
                        Case{24, 60, 0, 30, 256}, Case{2, 380, 0, 20, 256}, Case{16, 166, 0, 60, 128},
                        Case{8, 200, 0, 200, 256, 0.1}, Case{1, 20, 0, 12, 256},
                        Case{1, 2000, 0, 60, 256, 0.1}, Case{4, 900, 0, 60, 256, 0, 0.1}}) {
    std::vector<Example> examples;
    for (int64_t i = 0; i < c.documents; ++i) {
      examples.push_back(example(c.text, c.target - 2, static_cast<uint64_t>(i), c.query));
    }
    for (const EncodeSchedule schedule :
         {EncodeSchedule::kKept, EncodeSchedule::kCached, EncodeSchedule::kStreamed}) {
      PlanRequest request;
      request.schedule = schedule;
      request.window = c.window;
      request.training = {c.text, c.query, c.target, c.documents};
      request.attention_dropout = c.attention_dropout > 0;
      const int64_t planned = of_the_step(plan_memory(model, request));

      GradientOptions options;
      options.schedule = schedule;
      options.window = c.window;
      options.dropout.attention = c.attention_dropout;
      options.dropout.hidden = c.hidden_dropout;
      PeakMeter::instance().reset();
      accumulate_gradient(model, examples, options);
      const double share = static_cast<double>(PeakMeter::instance().peak()) / static_cast<double>(planned);
      EXPECT_LE(share, 1.0) << name(schedule) << ", " << c.text << " tokens";
      EXPECT_GE(share, 0.75) << name(schedule) << ", " << c.text << " tokens";
    }
  }
}

PlanRequest long_document() {
  PlanRequest request;
  request.window = 256;
  request.training = {.longest_document = 100000, .longest_target = 100};
  return request;
}

TEST(MemoryPlan, AutoTakesTheFastestThatFits) {
  const models::BartModel model = wide_bart();
  PlanRequest request = long_document();
  const auto plan_of = [&](EncodeSchedule schedule) {
    request.schedule = schedule;
    return plan_memory(model, request);
  };
  std::vector<int64_t> totals;
  for (const EncodeSchedule schedule :
       {EncodeSchedule::kKept, EncodeSchedule::kCached, EncodeSchedule::kStreamed}) {
    request.budget.reset();
    totals.push_back(plan_of(schedule).total());
    request.budget = totals.back() + (int64_t{1} << 20);  // the program grows a little
    EXPECT_EQ(plan_of(EncodeSchedule::kAuto).schedule, schedule);
  }
  EXPECT_GT(totals[0], totals[1]);
  EXPECT_GT(totals[1], totals[2]);
  request.budget = totals[1] + (int64_t{1} << 20);
  request.preferred = EncodeSchedule::kStreamed;  // of a resumed run
  EXPECT_EQ(plan_of(EncodeSchedule::kAuto).schedule, EncodeSchedule::kStreamed);
  request.preferred = EncodeSchedule::kKept;
  EXPECT_EQ(plan_of(EncodeSchedule::kAuto).schedule, EncodeSchedule::kCached);
  request.budget = totals[2] / 2;
  EXPECT_THAT(error_of([&] { check_budget(plan_of(EncodeSchedule::kAuto)); }, ErrorKind::kBudget),
              HasSubstr("under the schedule streamed"));
}

TEST(MemoryPlan, CountsAValidationThatTakesMoreThanAStep) {
  const models::BartModel model = wide_bart();
  PlanRequest request = long_document();
  request.schedule = EncodeSchedule::kCached;
  const int64_t without = of_the_step(plan_memory(model, request));
  request.validation = {.longest_document = 1000, .longest_target = 10, .documents = 8};
  EXPECT_EQ(of_the_step(plan_memory(model, request)), without);
  request.validation = {.longest_document = 400000, .longest_target = 100, .documents = 1};
  request.generation = {.documents = 64, .num_beams = 4, .max_length = 100};
  const int64_t element = 4, rows = 400000;
  const auto& config = model.config();
  EXPECT_GT(of_the_step(plan_memory(model, request)),
            rows * config.d_model * (1 + 2 * config.decoder_layers) * element);
}

TEST(MemoryPlan, CountsNoMoreDocumentsWrittenAtOnceThanAPackHas) {
  const models::BartModel model = wide_bart();
  PlanRequest request = long_document();
  request.schedule = EncodeSchedule::kStreamed;
  request.training = {.longest_document = 100, .longest_target = 10};
  request.validation = {.longest_document = 100, .longest_target = 10, .documents = 1000};
  request.generation = {.documents = kDocumentPackDocuments, .num_beams = 1, .max_length = 200};
  const auto validation = [&] { return plan_memory(model, request).phases.back().bytes(); };
  const int64_t of_a_pack = validation();
  request.generation->documents = 256;  // of greedy search
  EXPECT_EQ(validation(), of_a_pack);
  request.generation->documents = 8;
  EXPECT_LT(validation(), of_a_pack);
}

}  // namespace
}  // namespace precis::memory

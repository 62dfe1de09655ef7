// Training on a GPU gives the CPU's gradient in float64, under every schedule, and the same bits at every
// run.
#include "memory/gradient.h"

#include <filesystem>

#include "cuda/gpu.h"
#include "memory/gradients.h"
#include "memory/plan.h"
#include "train/optimizer.h"
#include "train/update.h"

namespace precis::memory {
namespace {

class CudaGradient : public OnGpu {
 protected:
  models::BartModel model_on(at::Device device) const {
    models::BartModel model = small_bart();
    model.to(device);
    model.set_requires_grad(true);
    return model;
  }

  // On the CPU, whatever the model is on.
  Gradients gradient_of(models::BartModel& model, const std::vector<Example>& examples,
                        const GradientOptions& options) const {
    accumulate_gradient(model, examples, options);
    Gradients gradients = collect(model);
    for (auto& [name, gradient] : gradients) gradient = gradient.cpu();
    return gradients;
  }
};

GradientOptions options_of(int64_t window, double dropout) {
  GradientOptions options{.window = window, .label_smoothing = 0.1, .weight = 0.03};
  options.dropout = {.hidden = dropout, .attention = dropout, .activation = dropout, .seed = 3, .step = 8};
  return options;
}

TEST_F(CudaGradient, IsTheCpusUnderEverySchedule) {
  models::BartModel on_cpu = model_on(at::kCPU), on_gpu = model_on(gpu);
  const std::vector<Example> examples = mixed_examples();
  for (const int64_t window : {40, 23}) {
    for (const double dropout : {0.0, 0.2}) {
      GradientOptions options = options_of(window, dropout);
      options.way = way_of(EncodeSchedule::kKept);
      const Gradients want = gradient_of(on_cpu, examples, options);
      for (const EncodeSchedule schedule : kSchedules) {
        for (const int64_t retained : {0, 200}) {
          SCOPED_TRACE(std::string(name(schedule)) + ", dropout " + std::to_string(dropout));
          options.way = {schedule, schedule == EncodeSchedule::kKept ? kAllPositions : retained};
          expect_equal(gradient_of(on_gpu, examples, options), want, 1e-10);
        }
      }
    }
  }
}

TEST_F(CudaGradient, OfStatesInAFileAndWithinBytes) {
  models::BartModel on_cpu = model_on(at::kCPU), on_gpu = model_on(gpu);
  const std::vector<Example> examples = mixed_examples();
  GradientOptions options = options_of(23, 0.2);
  options.way = way_of(EncodeSchedule::kCached);
  const Gradients want = gradient_of(on_cpu, examples, options);
  options.way = way_of(EncodeSchedule::kTwoSweep);
  options.way.spilled = true;
  options.spill = std::filesystem::temp_directory_path();
  expect_equal(gradient_of(on_gpu, examples, options), want, 1e-10);
  options.spill.reset();
  for (const int64_t bytes : {int64_t{0}, int64_t{200000}, int64_t{1} << 40}) {
    options.bytes = bytes;
    expect_equal(gradient_of(on_gpu, examples, options), want, 1e-10);
  }
}

TEST_F(CudaGradient, LossesOfDocumentsAreTheCpus) {
  models::BartModel on_cpu = model_on(at::kCPU), on_gpu = model_on(gpu);
  const std::vector<Example> examples = mixed_examples();
  std::vector<std::vector<Window>> windows;
  for (const Example& example : examples) {
    windows.push_back(cut_windows(on_cpu.config(), example.document, 23));
  }
  for (const DocumentPack& pack : pack_documents(std::move(windows))) {
    const auto losses = [&](const models::BartModel& model) {
      return pack_losses(model, examples, pack, encode_pack(model, pack, {}));
    };
    const std::vector<DocumentLoss> got = losses(on_gpu), want = losses(on_cpu);
    for (size_t b = 0; b < want.size(); ++b) {
      EXPECT_NEAR(got[b].nll_sum, want[b].nll_sum, 1e-10 * want[b].nll_sum);
    }
  }
}

TEST_F(CudaGradient, AnUpdateHasTheSameBitsAtEveryRun) {
  // Rows enough for kernels that share a sum out; heads of 64, which fused attention takes.
  models::BartConfig config = small_config();
  config.vocab_size = 300;
  config.max_position_embeddings = 512;
  config.d_model = 128;
  config.encoder_attention_heads = config.decoder_attention_heads = 2;
  config.init_std = 0.1;
  const std::vector<Example> examples = {example(3000, 200, 1), example(500, 90, 2), example(40, 7, 3)};
  for (const auto& [weights, products] :
       {std::pair(at::kFloat, at::kFloat), std::pair(at::kFloat, at::kBFloat16),
        std::pair(at::kDouble, at::kDouble)}) {
    for (const double dropout : {0.0, 0.1}) {
      std::vector<at::Tensor> first;
      for (int run = 0; run < 3; ++run) {
        models::BartModel model = models::BartModel::initialize(config, 7, weights);
        model.to(gpu);
        model.compute_in(products);
        model.set_requires_grad(true);
        train::Optimizer optimizer(model.parameters(), {});
        train::UpdateOptions options;
        options.gradient = options_of(512, dropout);
        options.gradient.dropout.attention = 0;  // without it attention is the library's own
        options.gradient.way = {EncodeSchedule::kCached, 0};
        options.clip_norm = 1.0;
        options.learning_rate = 1e-3;
        for (int step = 0; step < 2; ++step) {
          train::apply_update(model, optimizer, train::documents_of(examples), options);
        }
        size_t i = 0;
        for (const auto& [name, parameter] : model.parameters()) {
          if (run == 0) {
            first.push_back(parameter.detach().clone());
          } else {
            EXPECT_TRUE(at::equal(parameter.detach(), first[i])) << name << ", " << c10::toString(products);
          }
          ++i;
        }
      }
    }
  }
}

TEST_F(CudaGradient, OptimizersGoTheCpusWay) {
  const std::vector<Example> examples = mixed_examples();
  for (const train::OptimizerName optimizer_name :
       {train::OptimizerName::kAdamW, train::OptimizerName::kAdam, train::OptimizerName::kSgd}) {
    std::vector<Gradients> after;
    for (const at::Device device : {at::Device(at::kCPU), gpu}) {
      models::BartModel model = model_on(device);
      train::Optimizer optimizer(model.parameters(), {.name = optimizer_name, .eps = 1e-3});
      train::UpdateOptions options;
      options.gradient = options_of(23, 0.2);
      options.clip_norm = 1.0;
      options.learning_rate = 1e-2;
      for (int step = 0; step < 3; ++step) {
        train::apply_update(model, optimizer, train::documents_of(examples), options);
      }
      Gradients& weights = after.emplace_back();
      for (const auto& [name, parameter] : model.parameters()) weights[name] = parameter.detach().cpu();
    }
    expect_equal(after[1], after[0], 1e-8);
  }
}

TEST_F(CudaGradient, ThePlanIsOfTheGpusMemory) {
  models::BartModel model = model_on(gpu);
  PlanRequest request;
  request.cost.window = 40;
  request.training = {.longest_document = 1000, .longest_target = 20};
  const MemoryPlan plan = plan_memory(model, request);
  EXPECT_TRUE(plan.of_gpu);
  EXPECT_LT(plan.throughout.bytes(), nn::available_bytes(gpu));
  ASSERT_TRUE(plan.step_bytes);
  EXPECT_LT(*plan.step_bytes, nn::available_bytes(gpu));
  EXPECT_GT(*plan.step_bytes, nn::available_bytes(gpu) / 2);
}

}  // namespace
}  // namespace precis::memory

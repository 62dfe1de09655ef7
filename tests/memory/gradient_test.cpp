// Every schedule gives the gradient of one whole graph (DESIGN, Exact first: 1e-10 of the largest element in
// float64; key biases, whose gradient is zero in exact arithmetic, below 1e-12 of it).
#include "memory/gradient.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "base/error.h"
#include "base/error_of.h"
#include "memory/gradients.h"
#include "memory/small_bart.h"
#include "parallel/thread_ranks.h"

namespace precis::memory {
namespace {

// Attention in one piece from the definition, for one document.
class PlainCrossAttention : public nn::CrossAttention {
 public:
  explicit PlainCrossAttention(at::Tensor states_TM) : states_TM_(std::move(states_TM)) {}
  at::Tensor attend(int64_t, const at::Tensor& query_BSD, const nn::CrossProjection& p,
                    const nn::Dropout&) override {
    const int64_t S = query_BSD.size(1), D = query_BSD.size(2), E = D / p.heads;
    const auto heads = [&](const at::Tensor& x) { return x.view({-1, p.heads, E}).transpose(0, 1); };
    const at::Tensor key = heads(at::linear(states_TM_, p.key_weight_DM, p.key_bias_D));
    const at::Tensor value = heads(at::linear(states_TM_, p.value_weight_DM, p.value_bias_D));
    const at::Tensor scores =
        heads(query_BSD[0]).matmul(key.transpose(1, 2)) / std::sqrt(static_cast<double>(E));
    return scores.softmax(-1).matmul(value).transpose(0, 1).reshape({1, S, D});
  }

 private:
  at::Tensor states_TM_;
};

// One graph over everything, one window and one document at a time, without packs, padding or pieces.
Gradients whole_graph(models::BartModel& model, const std::vector<Example>& examples, int64_t window,
                      double smoothing, double weight) {
  at::Tensor total = at::zeros({}, at::kDouble);
  for (const Example& example : examples) {
    std::vector<at::Tensor> kept;
    for (const Window& cut : cut_windows(model.config(), example.document, window)) {
      const int64_t length = static_cast<int64_t>(cut.ids.size());
      const at::Tensor ids = at::tensor(std::vector<int64_t>(cut.ids.begin(), cut.ids.end())).unsqueeze(0);
      const at::Tensor states = model.encode(ids, {length}, {})[0];
      kept.push_back(states.slice(0, cut.keep_begin, cut.keep_end));
    }
    PlainCrossAttention attention(at::cat(kept));
    std::vector<int64_t> inputs{model.config().decoder_start_token_id};
    inputs.insert(inputs.end(), example.target.begin(), example.target.end() - 1);
    const at::Tensor hidden = model.decode(at::tensor(inputs).unsqueeze(0), attention, {})[0];
    const at::Tensor labels = at::tensor(std::vector<int64_t>(example.target.begin(), example.target.end()));
    total =
        total + at::cross_entropy_loss(model.logits(hidden), labels, {}, at::Reduction::Sum, -100, smoothing);
  }
  torch::autograd::backward({total * weight}, {});
  return collect(model);
}

// Of each example, in windows of 23.
std::vector<DocumentLoss> losses_of(const models::BartModel& model, const std::vector<Example>& examples) {
  std::vector<std::vector<Window>> windows;
  for (const Example& example : examples) {
    windows.push_back(cut_windows(model.config(), example.document, 23));
  }
  std::vector<DocumentLoss> losses(examples.size());
  for (const DocumentPack& pack : pack_documents(std::move(windows))) {
    const std::vector<DocumentLoss> of_pack =
        pack_losses(model, examples, pack, encode_pack(model, pack, {}));
    for (size_t b = 0; b < of_pack.size(); ++b) losses[pack.documents[b]] = of_pack[b];
  }
  return losses;
}

TEST(Gradient, EverySchedulesGradientIsThatOfOneGraph) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  const std::vector<Example> examples = mixed_examples();
  for (const int64_t window : {40, 23}) {
    const Gradients want = whole_graph(model, examples, window, 0.1, 0.03);
    for (const EncodeSchedule schedule : kSchedules) {
      for (const Retention& retained : {Retention{}, Retention{.full = 200}, Retention{200, 400}}) {
        SCOPED_TRACE(name(schedule));
        GradientOptions options{
            .way = {schedule, schedule == EncodeSchedule::kKept ? Retention{kAllPositions} : retained},
            .window = window,
            .label_smoothing = 0.1,
            .weight = 0.03};
        const BatchLoss loss = accumulate_gradient(model, examples, options);
        EXPECT_EQ(loss.target_tokens, 61);
        const Gradients got = collect(model);
        expect_equal(got, want, 1e-10);
        for (const auto& [parameter, gradient] : got) {
          if (parameter.find("k_proj.bias") != std::string::npos) {
            EXPECT_LT(gradient.abs().max().item<double>(), 1e-12 * largest(want)) << parameter;
          }
        }
      }
    }
  }
}

TEST(Gradient, DropoutReplaysWhateverSharesAPack) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  const std::vector<Example> examples = mixed_examples();
  GradientOptions options{.way = way_of(EncodeSchedule::kKept), .window = 23};
  options.dropout = {.hidden = 0.1, .attention = 0.2, .activation = 0.1, .seed = 3, .step = 8};
  const BatchLoss together = accumulate_gradient(model, examples, options);
  const Gradients want = collect(model);

  for (const EncodeSchedule schedule : kSchedules) {
    SCOPED_TRACE(name(schedule));
    options.way = {schedule, 200};
    accumulate_gradient(model, examples, options);
    expect_equal(collect(model), want, 1e-10);
    double one_by_one = 0;
    for (const Example& alone : examples) one_by_one += accumulate_gradient(model, {alone}, options).nll_sum;
    EXPECT_NEAR(one_by_one, together.nll_sum, 1e-10 * together.nll_sum);
    expect_equal(collect(model), want, 1e-10);
  }

  options.dropout.step = 9;  // another update draws other masks
  EXPECT_GT(std::abs(accumulate_gradient(model, examples, options).nll_sum - together.nll_sum), 1e-3);
}

TEST(Gradient, ReplayedDropoutIsTheGradientOfTheDroppedLoss) {
  // Central differences of the dropped loss along a random direction.
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  const std::vector<Example> examples = {example(60, 8, 4), example(11, 5, 5)};
  GradientOptions options{.way = way_of(EncodeSchedule::kStreamed), .window = 23};
  options.dropout = {.hidden = 0.1, .attention = 0.2, .activation = 0.1, .seed = 3, .step = 8};
  accumulate_gradient(model, examples, options);
  at::Generator generator = at::detail::createCPUGenerator(5);
  const Gradients gradients = collect(model);
  double slope = 0;
  Gradients direction;
  for (const auto& [name, gradient] : gradients) {
    direction[name] = at::randn(gradient.sizes(), generator, gradient.options());
    slope += (direction[name] * gradient).sum().item<double>();
  }
  const auto loss_at = [&](double distance) {
    {
      const at::NoGradGuard no_grad;
      for (const auto& [name, parameter] : model.parameters()) parameter.add_(direction[name], distance);
    }
    const double loss = accumulate_gradient(model, examples, options).nll_sum;
    const at::NoGradGuard no_grad;
    for (const auto& [name, parameter] : model.parameters()) parameter.add_(direction[name], -distance);
    return loss;
  };
  const double h = 1e-6;
  const double measured = (loss_at(h) - loss_at(-h)) / (2 * h);
  EXPECT_NEAR(measured, slope, 1e-5 * std::abs(slope));  // the error of the difference itself
}

TEST(Gradient, RetainedGraphsChangeNoBit) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  const std::vector<Example> examples = mixed_examples();
  for (const EncodeSchedule schedule :
       {EncodeSchedule::kCached, EncodeSchedule::kStreamed, EncodeSchedule::kTwoSweep}) {
    GradientOptions options{.way = {schedule, {}}, .window = 23};
    options.dropout = {.hidden = 0.1, .attention = 0.2, .activation = 0.1, .seed = 3, .step = 8};
    accumulate_gradient(model, examples, options);
    const Gradients want = collect(model);
    for (const Retention& retained : {Retention{.full = 300}, Retention{.full = kAllPositions},
                                      Retention{.lean = kAllPositions}, Retention{200, 300}}) {
      options.way.retained = retained;
      accumulate_gradient(model, examples, options);
      for (const auto& [name, gradient] : collect(model))
        EXPECT_TRUE(at::equal(gradient, want.at(name))) << name;
    }
  }
}

TEST(Gradient, RanksThatShareDocumentsAddUpToOne) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  const std::vector<Example> examples = mixed_examples();
  GradientOptions options{.window = 23, .label_smoothing = 0.1, .weight = 0.03};
  for (const double dropout : {0.0, 0.2}) {
    options.dropout = {.hidden = dropout, .attention = dropout, .activation = dropout, .seed = 3, .step = 8};
    options.ranks = nullptr;
    options.way = way_of(EncodeSchedule::kKept);
    const BatchLoss loss = accumulate_gradient(model, examples, options);
    const Gradients want = collect(model);
    for (const int size : {1, 2, 4}) {
      for (const EncodeSchedule schedule : kSchedules) {
        SCOPED_TRACE(std::string(name(schedule)) + ", " + std::to_string(size) + " ranks");
        std::vector<Gradients> parts(static_cast<size_t>(size));
        std::vector<BatchLoss> losses(static_cast<size_t>(size));
        parallel::on_ranks(size, [&](parallel::Communicator& ranks) {
          models::BartModel own = small_bart();
          own.set_requires_grad(true);
          GradientOptions shared = options;
          shared.ranks = &ranks;
          shared.way = {schedule, 100};
          losses[static_cast<size_t>(ranks.rank())] = accumulate_gradient(own, examples, shared);
          parts[static_cast<size_t>(ranks.rank())] = collect(own);
        });
        EXPECT_NEAR(losses[0].nll_sum, loss.nll_sum, 1e-10 * loss.nll_sum);
        EXPECT_EQ(losses[0].target_tokens, loss.target_tokens);
        Gradients sum = parts[0];
        for (int rank = 1; rank < size; ++rank) {
          EXPECT_EQ(losses[static_cast<size_t>(rank)].target_tokens, 0);
          for (auto& [name, gradient] : sum) gradient = gradient + parts[static_cast<size_t>(rank)].at(name);
        }
        expect_equal(sum, want, 1e-10);
      }
    }
  }
}

TEST(Gradient, StatesInAFileOrOfAnotherTypeChangeNothingElse) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  const std::vector<Example> examples = mixed_examples();
  GradientOptions options{.window = 23};
  options.dropout = {.hidden = 0.1, .attention = 0.2, .activation = 0.1, .seed = 3, .step = 8};
  for (const std::optional<at::ScalarType> type :
       {std::optional<at::ScalarType>(), std::optional(at::kFloat), std::optional(at::kBFloat16)}) {
    options.memory_type = type;
    options.way = way_of(EncodeSchedule::kCached);
    accumulate_gradient(model, examples, options);
    const Gradients want = collect(model);
    for (const EncodeSchedule schedule : {EncodeSchedule::kStreamed, EncodeSchedule::kTwoSweep}) {
      options.way = way_of(schedule);
      accumulate_gradient(model, examples, options);
      const Gradients in_memory = collect(model);
      expect_equal(in_memory, want, 1e-10);
      options.way.spilled = true;
      options.spill = std::filesystem::temp_directory_path();
      accumulate_gradient(model, examples, options);
      for (const auto& [name, gradient] : collect(model))
        EXPECT_TRUE(at::equal(gradient, in_memory.at(name)));
    }
  }
  options.spill = "/proc/nowhere";
  EXPECT_THAT(error_of([&] { accumulate_gradient(model, examples, options); }, ErrorKind::kIo),
              ::testing::HasSubstr("/proc/nowhere"));
}

TEST(Gradient, WithinBytesIsTheSameGradient) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  const std::vector<Example> examples = mixed_examples();
  GradientOptions options{.window = 23};
  accumulate_gradient(model, examples, options);
  const Gradients want = collect(model);
  for (const int64_t bytes : {int64_t{0}, int64_t{200000}, int64_t{400000}, int64_t{1} << 40}) {
    options.bytes = bytes;
    accumulate_gradient(model, examples, options);
    expect_equal(collect(model), want, 1e-10);
  }
}

TEST(Gradient, AccumulationIsOneLargeBatch) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  const std::vector<Example> examples = mixed_examples();
  const GradientOptions options{.way = way_of(EncodeSchedule::kCached), .window = 23, .weight = 1.0 / 61};
  accumulate_gradient(model, examples, options);
  const Gradients want = collect(model);
  for (const Example& alone : examples) accumulate_gradient(model, {alone}, options);
  expect_equal(collect(model), want, 1e-10);
}

TEST(Gradient, DocumentLossesAreThoseOfTheTrainingPass) {
  models::BartModel model = small_bart();
  model.set_requires_grad(true);
  const std::vector<Example> examples = mixed_examples();
  const std::vector<DocumentLoss> losses = losses_of(model, examples);
  for (size_t i = 0; i < examples.size(); ++i) {
    const BatchLoss alone = accumulate_gradient(model, {examples[i]}, {.window = 23});
    EXPECT_EQ(losses[i].tokens, alone.target_tokens);
    EXPECT_NEAR(losses[i].nll_sum, alone.nll_sum, 1e-10 * alone.nll_sum);
  }
}

TEST(Gradient, OrderOfInnerWindowsOfOneLengthDoesNotMatter) {
  models::BartModel model = small_bart();
  Example document = example(21 * 4, 6, 1);
  const double before = losses_of(model, {document})[0].nll_sum;
  std::swap_ranges(document.document.text.begin() + 21, document.document.text.begin() + 42,
                   document.document.text.begin() + 42);
  EXPECT_NEAR(losses_of(model, {document})[0].nll_sum, before, 1e-12 * before);
}

TEST(Gradient, SchedulesThatAreNotBuiltAreRefused) {
  models::BartModel model = small_bart();
  try {
    accumulate_gradient(model, {example(4, 4, 1)},
                        {.way = {EncodeSchedule::kLayerSynchronous, 0}, .window = 23});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  }
}

}  // namespace
}  // namespace precis::memory

// Held, added up, or made again window by window.
#include "memory/memory_gradient.h"

#include <torch/csrc/autograd/autograd.h>

#include <utility>

#include "memory/streamed_attention.h"

namespace precis::memory {

namespace {

at::Tensor rows_of(const at::Tensor& gradient_BTM, const EncoderPack& windows) {
  return gradient_BTM.flatten(0, 1).index_select(0, windows.to_R);
}

// The states are a leaf of the decoder's graph.
class HeldGradient : public MemoryGradient {
 public:
  explicit HeldGradient(MemoryBatch memory) : memory_(std::move(memory)), leaf_(memory_.states_BTM) {
    leaf_.requires_grad_(true);
  }

  at::Tensor of(const at::Tensor&, const EncoderPack& windows) override {
    return rows_of(gradient_BTM_, windows);
  }

 private:
  std::unique_ptr<nn::CrossAttention> attention() override {
    return std::make_unique<HeldCrossAttention>(std::move(memory_));
  }
  void after_decoder() override { gradient_BTM_ = std::exchange(leaf_, at::Tensor()).grad(); }

  MemoryBatch memory_;
  at::Tensor leaf_, gradient_BTM_;
};

// The layers' backward passes add to one sum.
class StreamedGradient : public MemoryGradient {
 public:
  explicit StreamedGradient(MemoryBatch memory) : memory_(std::move(memory)) {
    const at::Tensor& states = memory_.states_BTM;
    gradient_->sum_BTM = at::zeros(states.sizes(), states.options().dtype(score_type(states.scalar_type())));
  }

  at::Tensor of(const at::Tensor& states_RM, const EncoderPack& windows) override {
    return rows_of(gradient_->sum_BTM, windows).to(states_RM.scalar_type());
  }

 private:
  std::unique_ptr<nn::CrossAttention> attention() override {
    return std::make_unique<StreamedCrossAttention>(std::move(memory_), gradient_);
  }

  MemoryBatch memory_;
  std::shared_ptr<StatesGradient> gradient_ = std::make_shared<StatesGradient>();
};

// The decoder's backward pass is the first sweep and leaves each layer's queries; of() is the second.
class TwoSweepGradient : public MemoryGradient {
 public:
  explicit TwoSweepGradient(MemoryBatch memory) : memory_(std::move(memory)) {}

  at::Tensor of(const at::Tensor& states_RM, const EncoderPack& windows) override {
    const at::NoGradGuard no_grad;
    const at::ScalarType sums = score_type(states_RM.scalar_type());
    const at::Tensor d_states_RM = at::zeros_like(states_RM, states_RM.options().dtype(sums));
    for (const StatesGradient::Layer& layer : gradient_->layers) {
      ProjectionGradient sum{.key_DM = layer.projection.key_weight_DM.grad(),
                             .key_bias_D = grad_of(layer.projection.key_bias_D),
                             .value_DM = layer.projection.value_weight_DM.grad(),
                             .value_bias_D = grad_of(layer.projection.value_bias_D)};
      for (const MemorySegment& segment : windows.segments) add(layer, segment, states_RM, sum, d_states_RM);
      keep(layer.projection.key_weight_DM, sum.key_DM);
      keep(layer.projection.key_bias_D, sum.key_bias_D);
      keep(layer.projection.value_weight_DM, sum.value_DM);
      keep(layer.projection.value_bias_D, sum.value_bias_D);
    }
    return d_states_RM.to(states_RM.scalar_type());
  }

 private:
  std::unique_ptr<nn::CrossAttention> attention() override {
    return std::make_unique<StreamedCrossAttention>(std::move(memory_), gradient_);
  }

  static at::Tensor grad_of(const at::Tensor& parameter) {
    return parameter.defined() ? parameter.grad() : at::Tensor();
  }
  static void keep(const at::Tensor& parameter, const at::Tensor& sum) {
    if (parameter.defined() && !parameter.grad().defined()) {
      at::Tensor(parameter).mutable_grad() = sum.to(parameter.scalar_type());
    }
  }

  static void add(const StatesGradient::Layer& layer, const MemorySegment& segment,
                  const at::Tensor& states_RM, ProjectionGradient& sum, const at::Tensor& d_states_RM) {
    const CrossQueries queries = layer.queries.document(segment.document);
    const QueryGradients gradients = layer.gradients.document(segment.document, queries.heads);
    const int64_t block = rows_of_a_block(queries.query_NSE.size(1) * queries.heads);
    for (int64_t done = 0; done < segment.rows; done += block) {
      const int64_t t = std::min(block, segment.rows - done);
      const at::Tensor states = states_RM.narrow(0, segment.first + done, t);
      const KeysAndValues of(states.unsqueeze(0), layer.projection);
      const auto [dropped, d_scores] =
          score_gradients(queries, gradients, of.key_NtE, of.value_NtE, segment.memory_row + done);
      const auto rows = [&](const at::Tensor& d_NtE) { return from_heads(d_NtE, queries.heads).squeeze(0); };
      const at::Tensor d_key = rows(at::bmm(d_scores.transpose(1, 2), queries.query_NSE));
      const at::Tensor d_value = rows(at::bmm(dropped.transpose(1, 2), gradients.gradient_NSE));
      d_states_RM.narrow(0, segment.first + done, t).add_(sum.add(states, d_key, d_value, layer.projection));
    }
  }

  MemoryBatch memory_;
  std::shared_ptr<StatesGradient> gradient_ = std::make_shared<StatesGradient>();
};

}  // namespace

void MemoryGradient::back_propagate(const std::function<at::Tensor(nn::CrossAttention&)>& objective) {
  {
    const std::unique_ptr<nn::CrossAttention> way = attention();
    torch::autograd::backward({objective(*way)}, {});
  }
  after_decoder();
}

std::unique_ptr<MemoryGradient> memory_gradient(CrossMode mode, MemoryBatch memory) {
  switch (mode) {
    case CrossMode::kHeld:
      return std::make_unique<HeldGradient>(std::move(memory));
    case CrossMode::kStreamed:
      return std::make_unique<StreamedGradient>(std::move(memory));
    case CrossMode::kTwoSweep:
      return std::make_unique<TwoSweepGradient>(std::move(memory));
  }
  return nullptr;
}

}  // namespace precis::memory

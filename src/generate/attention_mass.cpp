// Cross-attention that adds up its own probabilities.
#include "generate/attention_mass.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "nn/attention.h"
#include "nn/linear.h"

namespace precis::generate {

namespace {

// The most probabilities made at a time.
constexpr int64_t kBlockProbabilities = int64_t{1} << 22;

class CountingCrossAttention : public nn::CrossAttention {
 public:
  // weights_GS: what a step counts in each group.
  CountingCrossAttention(const at::Tensor& states_TM, at::Tensor weights_GS)
      : states_TM_(states_TM),
        weights_GS_(std::move(weights_GS)),
        mass_GT_(at::zeros({weights_GS_.size(0), states_TM.size(0)}, weights_GS_.options())) {}

  at::Tensor attend(int64_t layer, const at::Tensor& query_BSD, const nn::CrossProjection& projection,
                    const nn::Dropout& dropout) override {
    const int64_t heads = projection.heads;
    const at::Tensor states_1TM = states_TM_.unsqueeze(0);
    const at::Tensor key_HTE =
        nn::split_heads(nn::linear(states_1TM, projection.key_weight_DM, projection.key_bias_D), heads)[0];
    const at::Tensor value_HTE = nn::split_heads(
        nn::linear(states_1TM, projection.value_weight_DM, projection.value_bias_D), heads)[0];
    const at::Tensor query_HSE = nn::split_heads(query_BSD, heads)[0];
    const int64_t steps = query_HSE.size(1);
    const int64_t block = std::max<int64_t>(1, kBlockProbabilities / states_TM_.size(0));
    const double scale = 1.0 / std::sqrt(static_cast<double>(query_HSE.size(2)));
    at::Tensor context_HSE = at::empty_like(query_HSE, at::MemoryFormat::Contiguous);
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t first = 0; first < steps; first += block) {
        const int64_t count = std::min(block, steps - first);
        const at::Tensor scores_ST =
            at::matmul(query_HSE[h].narrow(0, first, count).mul(scale), key_HTE[h].t());
        const at::Tensor probabilities_ST = scores_ST.softmax(1);
        context_HSE[h].narrow(0, first, count).copy_(at::matmul(probabilities_ST, value_HTE[h]));
        mass_GT_.addmm_(weights_GS_.narrow(1, first, count), probabilities_ST.to(mass_GT_.scalar_type()));
      }
    }
    ++layers_;
    heads_ = heads;
    return nn::join_heads(context_HSE.unsqueeze(0));
  }

  at::Tensor mass_GT() const { return mass_GT_ / static_cast<double>(layers_ * heads_); }

 private:
  at::Tensor states_TM_;
  at::Tensor weights_GS_;
  at::Tensor mass_GT_;
  int64_t layers_ = 0;
  int64_t heads_ = 1;
};

}  // namespace

at::Tensor attention_mass(const models::BartModel& model, const memory::MemoryBatch& memory,
                          const TokenSequence& tokens, const std::vector<TokenRange>& groups) {
  const at::NoGradGuard no_grad;
  const int64_t steps = static_cast<int64_t>(tokens.size()) - 1;
  // Step s reads token s and writes token s + 1.
  at::Tensor weights_GS = at::zeros({static_cast<int64_t>(groups.size()), steps}, at::kDouble);
  for (size_t g = 0; g < groups.size(); ++g) {
    const int64_t count = groups[g].end - groups[g].begin;
    weights_GS[static_cast<int64_t>(g)]
        .narrow(0, groups[g].begin - 1, count)
        .fill_(1.0 / static_cast<double>(count));
  }
  const at::Tensor states_TM = memory.states_BTM[0].narrow(0, 0, memory.rows_B.front());
  CountingCrossAttention counting(states_TM, weights_GS.to(model.device()));
  const std::vector<int64_t> read(tokens.begin(), tokens.end() - 1);
  model.decode(at::tensor(read, at::kLong).to(model.device()).unsqueeze(0), counting, {});
  return counting.mass_GT().to(at::kCPU);
}

}  // namespace precis::generate

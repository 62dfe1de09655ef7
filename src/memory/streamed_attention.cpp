// Streaming cross-attention: online softmax forward, recomputation backward.
// Letters as in cross_attention.h; t rows of one block, P probabilities, lse log-sum-exp of the scores.
#include "memory/streamed_attention.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "memory/online_softmax.h"
#include "nn/dropout.h"
#include "nn/linear.h"

namespace precis::memory {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What both passes need besides tensors.
struct Plan {
  std::vector<int64_t> rows_B;
  bool padded = false;
  int64_t heads = 0;
  int64_t block = 0;
  double dropout = 0;
  std::vector<uint64_t> keys_B;
  uint64_t site = 0;
  at::ScalarType compute = at::kFloat;  // the type of scores and sums
};

struct Weights {
  at::Tensor key_DM, key_bias, value_DM, value_bias;
};

// [B, t, D] -> [B * H, t, E] in the type of the scores.
at::Tensor to_heads(const at::Tensor& x_BtD, const Plan& plan) {
  const int64_t B = x_BtD.size(0), t = x_BtD.size(1), E = x_BtD.size(2) / plan.heads;
  return x_BtD.to(plan.compute).view({B, t, plan.heads, E}).transpose(1, 2).reshape({B * plan.heads, t, E});
}

at::Tensor from_heads(const at::Tensor& x_NtE, int64_t B) {
  const int64_t H = x_NtE.size(0) / B, t = x_NtE.size(1), E = x_NtE.size(2);
  return x_NtE.view({B, H, t, E}).transpose(1, 2).reshape({B, t, H * E});
}

// Scores [N, S, t] of one block, -inf at rows that are not the document's own.
at::Tensor scores_of(const at::Tensor& query_NSE, const at::Tensor& key_NtE, const Plan& plan,
                     int64_t begin) {
  at::Tensor scores = at::bmm(query_NSE, key_NtE.transpose(1, 2));
  if (plan.padded) {
    const int64_t B = static_cast<int64_t>(plan.rows_B.size()), t = key_NtE.size(1);
    rule_out_padding(scores.view({B, plan.heads, -1, t}), plan.rows_B, begin);
  }
  return scores;
}

// The dropout factors (0 or 1 / (1 - p)) of one block's probabilities, [N, S, t].
at::Tensor dropout_factors(const at::Tensor& scores_NSt, const Plan& plan, int64_t begin) {
  const int64_t B = static_cast<int64_t>(plan.rows_B.size());
  const int64_t S = scores_NSt.size(1), t = scores_NSt.size(2);
  return nn::dropout_factors({B, plan.heads, S, t}, plan.dropout, plan.keys_B, plan.site, begin,
                             scores_NSt.options())
      .view({-1, S, t});
}

struct Function : torch::autograd::Function<Function> {
  // Returns the context [B, S, D].
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query_BSD,
                            const at::Tensor& states_BTM, const at::Tensor& key_DM,
                            const at::Tensor& key_bias, const at::Tensor& value_DM,
                            const at::Tensor& value_bias, std::shared_ptr<Plan> plan) {
    const int64_t B = query_BSD.size(0), T = states_BTM.size(1);
    const double scale = 1.0 / std::sqrt(static_cast<double>(query_BSD.size(2) / plan->heads));
    const at::Tensor query_NSE = to_heads(query_BSD, *plan).mul(scale);
    OnlineSoftmax softmax;
    for (int64_t begin = 0; begin < T; begin += plan->block) {
      const at::Tensor states = states_BTM.narrow(1, begin, std::min(plan->block, T - begin));
      const at::Tensor key = to_heads(nn::linear(states, key_DM, key_bias), *plan);
      const at::Tensor value = to_heads(nn::linear(states, value_DM, value_bias), *plan);
      const at::Tensor scores = scores_of(query_NSE, key, *plan, begin);
      softmax.fold(scores, value, plan->dropout > 0 ? dropout_factors(scores, *plan, begin) : at::Tensor());
    }
    const at::Tensor output = softmax.output(), lse = softmax.lse();
    // Where no gradient is wanted, apply() drops what is saved here: the context dies with this call.
    context->save_for_backward({query_BSD, states_BTM, key_DM, key_bias, value_DM, value_bias, output, lse});
    context->saved_data["plan"] = at::IValue::make_capsule(c10::make_intrusive<PlanHolder>(plan));
    return from_heads(output, B).to(query_BSD.scalar_type());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &query_BSD = saved[0], &states_BTM = saved[1], &output_NSE = saved[6], &lse = saved[7];
    const Weights weights{saved[2], saved[3], saved[4], saved[5]};
    const Plan& plan =
        *c10::static_intrusive_pointer_cast<PlanHolder>(context->saved_data["plan"].toCapsule())->plan;
    const int64_t B = query_BSD.size(0), T = states_BTM.size(1);
    const double scale = 1.0 / std::sqrt(static_cast<double>(query_BSD.size(2) / plan.heads));
    const at::Tensor query_NSE = to_heads(query_BSD, plan).mul(scale);
    const at::Tensor gradient_NSE = to_heads(gradients[0], plan);
    const at::Tensor delta = gradient_NSE.mul(output_NSE).sum(-1, true);  // rowsum(dO . O)

    at::Tensor d_query = at::zeros_like(query_NSE);
    at::Tensor d_states = context->needs_input_grad(1) ? at::empty_like(states_BTM) : at::Tensor();
    at::Tensor d_key_DM = at::zeros_like(weights.key_DM, plan.compute);
    at::Tensor d_value_DM = at::zeros_like(weights.value_DM, plan.compute);
    at::Tensor d_key_bias, d_value_bias;
    if (weights.key_bias.defined()) d_key_bias = at::zeros_like(weights.key_bias, plan.compute);
    if (weights.value_bias.defined()) d_value_bias = at::zeros_like(weights.value_bias, plan.compute);
    for (int64_t begin = 0; begin < T; begin += plan.block) {
      const int64_t t = std::min(plan.block, T - begin);
      const at::Tensor states = states_BTM.narrow(1, begin, t);
      const at::Tensor key = to_heads(nn::linear(states, weights.key_DM, weights.key_bias), plan);
      const at::Tensor value = to_heads(nn::linear(states, weights.value_DM, weights.value_bias), plan);
      at::Tensor probability = scores_of(query_NSE, key, plan, begin).sub_(lse).exp_();
      at::Tensor d_probability = at::bmm(gradient_NSE, value.transpose(1, 2));
      at::Tensor dropped = probability;
      if (plan.dropout > 0) {
        const at::Tensor factors = dropout_factors(probability, plan, begin);
        d_probability.mul_(factors);
        dropped = probability.mul(factors);
      }
      const at::Tensor d_value = from_heads(at::bmm(dropped.transpose(1, 2), gradient_NSE), B);
      const at::Tensor d_scores = d_probability.sub_(delta).mul_(probability);
      d_query.baddbmm_(d_scores, key);
      const at::Tensor d_key = from_heads(at::bmm(d_scores.transpose(1, 2), query_NSE), B);

      const at::Tensor states_RM = states.reshape({B * t, -1}).to(plan.compute);
      const at::Tensor d_key_RD = d_key.reshape({B * t, -1}), d_value_RD = d_value.reshape({B * t, -1});
      d_key_DM.addmm_(d_key_RD.t(), states_RM);
      d_value_DM.addmm_(d_value_RD.t(), states_RM);
      if (d_key_bias.defined()) d_key_bias.add_(d_key_RD.sum(0));
      if (d_value_bias.defined()) d_value_bias.add_(d_value_RD.sum(0));
      if (d_states.defined()) {
        at::Tensor d_block = at::mm(d_key_RD, weights.key_DM.to(plan.compute));
        d_block.addmm_(d_value_RD, weights.value_DM.to(plan.compute));
        d_states.narrow(1, begin, t).copy_(d_block.view({B, t, -1}));
      }
    }
    const auto cast = [](const at::Tensor& gradient, const at::Tensor& like) {
      return gradient.defined() ? gradient.to(like.scalar_type()) : gradient;
    };
    return {cast(from_heads(d_query.mul_(scale), B), query_BSD),
            d_states,
            cast(d_key_DM, weights.key_DM),
            cast(d_key_bias, weights.key_bias),
            cast(d_value_DM, weights.value_DM),
            cast(d_value_bias, weights.value_bias),
            at::Tensor()};
  }

  // Carries the plan through saved_data.
  struct PlanHolder : torch::CustomClassHolder {
    explicit PlanHolder(std::shared_ptr<Plan> held) : plan(std::move(held)) {}
    std::shared_ptr<Plan> plan;
  };
};

}  // namespace

at::ScalarType score_type(at::ScalarType type) {
  return type == at::kHalf || type == at::kBFloat16 ? at::kFloat : type;
}

void rule_out_padding(at::Tensor scores_BHSt, const std::vector<int64_t>& rows_B, int64_t begin) {
  const int64_t end = begin + scores_BHSt.size(3);
  const at::Tensor lengths = at::tensor(rows_B, at::kLong).view({-1, 1, 1, 1});
  const at::Tensor outside = at::arange(begin, end, at::kLong).view({1, 1, 1, -1}).ge(lengths);
  scores_BHSt.masked_fill_(outside.to(scores_BHSt.device()), -std::numeric_limits<double>::infinity());
}

int64_t rows_of_a_block(int64_t scores_a_row) {
  constexpr int64_t kBlockScores = int64_t{1} << 22;
  return std::clamp<int64_t>(kBlockScores / std::max<int64_t>(1, scores_a_row), 256, 4096);
}

at::Tensor streamed_attention(const MemoryBatch& memory, const at::Tensor& query_BSD,
                              const nn::CrossProjection& projection, const nn::Dropout& dropout,
                              int64_t layer, int64_t block_rows) {
  auto plan = std::make_shared<Plan>();
  plan->rows_B = memory.rows_B;
  plan->padded = memory.padded();
  plan->heads = projection.heads;
  plan->compute = score_type(query_BSD.scalar_type());
  if (!dropout.rows.empty() && dropout.attention > 0) {
    plan->dropout = dropout.attention;
    plan->keys_B = dropout.rows;
    plan->site = nn::dropout_site(nn::kCrossAttentionSite, static_cast<uint64_t>(layer));
  }
  plan->block =
      block_rows > 0 ? block_rows : rows_of_a_block(query_BSD.size(0) * query_BSD.size(1) * projection.heads);
  return Function::apply(query_BSD, memory.states_BTM, projection.key_weight_DM, projection.key_bias_D,
                         projection.value_weight_DM, projection.value_bias_D, plan);
}

}  // namespace precis::memory

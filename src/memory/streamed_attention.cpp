// Streaming cross-attention: online softmax forward, recomputation backward.
// Letters as in cross_block.h.
#include "memory/streamed_attention.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "memory/online_softmax.h"

namespace precis::memory {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What both passes need besides the tensors that autograd follows.
struct Call : torch::CustomClassHolder {
  MemoryBatch memory;
  CrossQueries queries;
  nn::CrossProjection projection;
  int64_t block = 0;
  std::shared_ptr<StatesGradient> states_gradient;

  Call(MemoryBatch memory, CrossQueries queries, const nn::CrossProjection& projection)
      : memory(std::move(memory)), queries(std::move(queries)), projection(projection) {}

  // Calls visit(states of a block [B, t, M], its first row).
  template <typename Visit>
  void for_each_block(const Visit& visit) const {
    const int64_t T = memory.states_BTM.size(1);
    for (int64_t begin = 0; begin < T; begin += block) {
      visit(memory.states_BTM.narrow(1, begin, std::min(block, T - begin)), begin);
    }
  }
};

struct Attended {
  at::Tensor output_NSE, lse_NS1;
};

Attended attend(const Call& call) {
  OnlineSoftmax softmax;
  call.for_each_block([&](const at::Tensor& states_BtM, int64_t begin) {
    const KeysAndValues of(states_BtM, call.projection);
    softmax.fold(call.queries.scores(of.key_NtE, begin), of.value_NtE,
                 call.queries.dropout_factors(states_BtM.size(1), begin));
  });
  return {softmax.output(), softmax.lse()};
}

struct Function : torch::autograd::Function<Function> {
  // Returns the context [B, S, D]. The projection is in `call` too: here it is what autograd follows.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query_BSD, const at::Tensor&,
                            const at::Tensor&, const at::Tensor&, const at::Tensor&,
                            c10::intrusive_ptr<Call> call) {
    const auto [output_NSE, lse_NS1] = attend(*call);
    context->save_for_backward({output_NSE, lse_NS1});
    context->saved_data["call"] = at::IValue::make_capsule(std::move(call));
    context->saved_data["type"] = static_cast<int64_t>(query_BSD.scalar_type());
    return from_heads(output_NSE, call_of(context).queries.heads).to(query_BSD.scalar_type());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Call& call = call_of(context);
    const auto type = static_cast<at::ScalarType>(context->saved_data["type"].toInt());
    const variable_list saved = context->get_saved_variables();
    const at::Tensor gradient_NSE = to_heads(gradients[0], call.queries.heads);
    const QueryGradients of_queries{saved[1], gradient_NSE, gradient_NSE.mul(saved[0]).sum(-1, true)};
    StatesGradient& states_gradient = *call.states_gradient;
    ProjectionGradient of_projection;
    at::Tensor d_query_NSE = at::zeros_like(gradient_NSE);
    call.for_each_block([&](const at::Tensor& states_BtM, int64_t begin) {
      const KeysAndValues of(states_BtM, call.projection);
      const auto [dropped, d_scores] =
          score_gradients(call.queries, of_queries, of.key_NtE, of.value_NtE, begin);
      d_query_NSE.baddbmm_(d_scores, of.key_NtE);
      if (!states_gradient.sum_BTM.defined()) return;
      const auto rows = [&](const at::Tensor& d_NtE) {
        return from_heads(d_NtE, call.queries.heads).flatten(0, 1);
      };
      const at::Tensor d_states_RM = of_projection.add(
          states_BtM.flatten(0, 1), rows(at::bmm(d_scores.transpose(1, 2), call.queries.query_NSE)),
          rows(at::bmm(dropped.transpose(1, 2), gradient_NSE)), call.projection);
      states_gradient.sum_BTM.narrow(1, begin, states_BtM.size(1)).add_(d_states_RM.view_as(states_BtM));
    });
    if (!states_gradient.sum_BTM.defined()) {
      states_gradient.layers.push_back({call.queries, of_queries, call.projection});
    }
    const double scale = 1.0 / std::sqrt(static_cast<double>(d_query_NSE.size(2)));
    const auto cast = [](const at::Tensor& gradient, const at::Tensor& like) {
      return gradient.defined() ? gradient.to(like.scalar_type()) : gradient;
    };
    return {from_heads(d_query_NSE.mul_(scale), call.queries.heads).to(type),
            cast(of_projection.key_DM, call.projection.key_weight_DM),
            cast(of_projection.key_bias_D, call.projection.key_bias_D),
            cast(of_projection.value_DM, call.projection.value_weight_DM),
            cast(of_projection.value_bias_D, call.projection.value_bias_D),
            at::Tensor()};
  }

  static Call& call_of(AutogradContext* context) {
    return *c10::static_intrusive_pointer_cast<Call>(context->saved_data["call"].toCapsule());
  }
};

}  // namespace

at::Tensor streamed_attention(const MemoryBatch& memory, const at::Tensor& query_BSD,
                              const nn::CrossProjection& projection, const nn::Dropout& dropout,
                              int64_t layer, int64_t block_rows,
                              std::shared_ptr<StatesGradient> states_gradient) {
  const auto call = [&] {
    const at::NoGradGuard no_grad;
    return c10::make_intrusive<Call>(
        memory, CrossQueries(query_BSD, projection.heads, memory.rows_B, dropout, layer), projection);
  }();
  call->block =
      block_rows > 0 ? block_rows : rows_of_a_block(query_BSD.size(0) * query_BSD.size(1) * projection.heads);
  call->states_gradient = std::move(states_gradient);
  if (call->states_gradient == nullptr) {
    const at::NoGradGuard no_grad;
    return from_heads(attend(*call).output_NSE, projection.heads).to(query_BSD.scalar_type());
  }
  return Function::apply(query_BSD, projection.key_weight_DM, projection.key_bias_D,
                         projection.value_weight_DM, projection.value_bias_D, call);
}

}  // namespace precis::memory

// Streaming cross-attention: online softmax forward, recomputation backward.
// Letters as in cross_block.h.
#include "memory/streamed_attention.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "nn/rank_sum.h"

namespace precis::memory {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What both passes need besides the tensors that autograd follows.
struct Call : torch::CustomClassHolder {
  MemorySource memory;
  CrossQueries queries;
  nn::CrossProjection projection;
  int64_t block = 0;
  std::shared_ptr<CrossTape> tape;
  std::vector<KeysAndValues> held;  // of each block

  Call(MemorySource memory, CrossQueries queries, const nn::CrossProjection& projection)
      : memory(std::move(memory)), queries(std::move(queries)), projection(projection) {}

  // Calls visit(a block's first row, its rows).
  template <typename Visit>
  void for_each_block(const Visit& visit) const {
    for (int64_t begin = 0; begin < memory.max_rows; begin += block) {
      visit(begin, std::min(block, memory.max_rows - begin));
    }
  }

  at::Tensor states(int64_t begin, int64_t rows) const {
    return memory.read(begin, rows).to(queries.products);
  }
};

struct Attended {
  at::Tensor output_NSE, lse_NS1;
};

Attended attend(Call& call) {
  const bool hold = call.tape != nullptr && call.tape->mode == CrossMode::kHeld;
  const double minus_infinity = -std::numeric_limits<double>::infinity();
  const at::Tensor& query_NSE = call.queries.query_NSE;
  CrossFold sum(call.queries);
  call.for_each_block([&](int64_t begin, int64_t rows) {
    const KeysAndValues of(call.states(begin, rows), call.projection);
    sum.fold(of, begin);
    if (hold) call.held.push_back(of);
  });
  if (call.memory.max_rows == 0) {  // all are other ranks'
    const auto options = query_NSE.options().dtype(score_type(query_NSE.scalar_type()));
    return {at::zeros_like(query_NSE, options),
            at::full_like(query_NSE.narrow(2, 0, 1), minus_infinity, options)};
  }
  const Attended attended{sum.output(), sum.lse()};
  for (size_t b = 0; b < call.memory.rows_B.size(); ++b) {
    if (call.memory.rows_B[b] > 0) continue;
    const int64_t first = static_cast<int64_t>(b) * call.queries.heads;
    attended.output_NSE.narrow(0, first, call.queries.heads).zero_();
    attended.lse_NS1.narrow(0, first, call.queries.heads).fill_(minus_infinity);
  }
  return attended;
}

// Of all ranks' rows (methods: CachED, One document over R ranks).
Attended merge(const Attended& own, parallel::Communicator& ranks) {
  if (ranks.size() == 1) return own;
  const int64_t E = own.output_NSE.size(2);
  const at::Tensor highest_NS1 = own.lse_NS1.clone();
  nn::maximum_over(ranks, highest_NS1);
  const at::Tensor weight_NS1 = own.lse_NS1.sub(highest_NS1).exp_();
  const at::Tensor sums = at::cat({own.output_NSE.mul(weight_NS1), weight_NS1}, 2);
  nn::sum_over(ranks, sums);
  const at::Tensor total_NS1 = sums.narrow(2, E, 1);
  return {sums.narrow(2, 0, E).div(total_NS1), total_NS1.log().add_(highest_NS1)};
}

struct Function : torch::autograd::Function<Function> {
  // Returns the context [B, S, D]. The anchor is what makes the backward pass come here.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query_BSD, const at::Tensor&,
                            c10::intrusive_ptr<Call> call) {
    const auto [output_NSE, lse_NS1] = merge(attend(*call), call->tape->ranks);
    context->save_for_backward({output_NSE, lse_NS1});
    context->saved_data["call"] = at::IValue::make_capsule(call);
    return from_heads(output_NSE, call->queries.heads).to(query_BSD.scalar_type());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    Call& call = *c10::static_intrusive_pointer_cast<Call>(context->saved_data["call"].toCapsule());
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &output_NSE = saved[0], &lse_NS1 = saved[1];
    const at::Tensor gradient_NSE = to_heads(gradients[0], call.queries.heads, output_NSE.scalar_type());
    const QueryGradients of_queries(call.queries, lse_NS1, gradient_NSE, output_NSE);
    CrossTape& tape = *call.tape;
    const bool record = tape.mode == CrossMode::kTwoSweep;
    ProjectionGradient of_projection(call.projection);
    at::Tensor d_query_NSE = at::zeros_like(gradient_NSE);
    size_t block = 0;
    call.for_each_block([&](int64_t begin, int64_t rows) {
      const at::Tensor states_BtM = call.states(begin, rows);
      const KeysAndValues of = call.held.empty() ? KeysAndValues(states_BtM, call.projection)
                                                 : std::exchange(call.held[block++], KeysAndValues());
      const auto [d_key_RD, d_value_RD] =
          block_gradients(call.queries, of_queries, of, begin, d_query_NSE, /*of_rows=*/!record);
      if (record) return;
      const at::Tensor d_states_RM = of_projection.add(states_BtM.flatten(0, 1), d_key_RD, d_value_RD);
      tape.sum_BTM.narrow(1, begin, rows).add_(d_states_RM.view_as(states_BtM));
    });
    nn::sum_over(tape.ranks, d_query_NSE);
    if (record) tape.layers.push_back({call.queries, of_queries, call.projection});
    return {from_heads(d_query_NSE, call.queries.heads).to(call.queries.products), at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

CrossTape::CrossTape(CrossMode mode, const at::Tensor& sum_BTM, parallel::Communicator& ranks)
    : mode(mode), ranks(ranks), sum_BTM(sum_BTM), anchor(at::zeros({})) {
  anchor.requires_grad_(true);
}

at::Tensor streamed_attention(const MemorySource& memory, const at::Tensor& query_BSD,
                              const nn::CrossProjection& projection, const nn::Dropout& dropout,
                              int64_t layer, int64_t block_rows, std::shared_ptr<CrossTape> tape) {
  const auto call = [&] {
    const at::NoGradGuard no_grad;
    return c10::make_intrusive<Call>(
        memory, CrossQueries(query_BSD, projection.heads, memory.rows_B, memory.first_row_B, dropout, layer),
        projection);
  }();
  call->block = block_rows > 0 ? block_rows
                               : rows_of_a_block(query_BSD.size(0) * query_BSD.size(1) * projection.heads,
                                                 query_BSD.device());
  call->tape = std::move(tape);
  if (call->tape == nullptr) {
    const at::NoGradGuard no_grad;
    return from_heads(attend(*call).output_NSE, projection.heads).to(query_BSD.scalar_type());
  }
  return Function::apply(query_BSD, call->tape->anchor, call);
}

StreamedCrossAttention::StreamedCrossAttention(MemorySource memory, std::shared_ptr<CrossTape> tape,
                                               int64_t block_rows)
    : memory_(std::move(memory)), tape_(std::move(tape)), block_rows_(block_rows) {}

at::Tensor StreamedCrossAttention::attend(int64_t layer, const at::Tensor& query_BSD,
                                          const nn::CrossProjection& projection, const nn::Dropout& dropout) {
  return streamed_attention(memory_, query_BSD, projection, dropout, layer, block_rows_, tape_);
}

}  // namespace precis::memory

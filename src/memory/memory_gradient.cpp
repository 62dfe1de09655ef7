// Added up by the layers' backward passes, or made again window by window.
#include "memory/memory_gradient.h"

#include <torch/csrc/autograd/autograd.h>

#include <utility>

namespace precis::memory {

namespace {

// Adds what one layer gives a segment's rows to their gradient `d_states_RM`.
void add_segment(const CrossTape::Layer& layer, const MemorySegment& segment, const at::Tensor& states_RM,
                 const at::Tensor& d_states_RM) {
  const CrossQueries queries = layer.queries.document(segment.document);
  const QueryGradients gradients = layer.gradients.document(segment.document, queries.heads);
  const ProjectionGradient of_projection(layer.projection);
  const int64_t block = rows_of_a_block(queries.query_NSE.size(1) * queries.heads, states_RM.device());
  for (int64_t done = 0; done < segment.rows; done += block) {
    const int64_t t = std::min(block, segment.rows - done);
    const at::Tensor states = states_RM.narrow(0, segment.first + done, t);
    const KeysAndValues of(states.unsqueeze(0), layer.projection);
    const auto [d_key, d_value] = block_gradients(queries, gradients, of, segment.memory_row + done,
                                                  /*d_query_NSE=*/{}, /*of_rows=*/true);
    d_states_RM.narrow(0, segment.first + done, t).add_(of_projection.add(states, d_key, d_value));
  }
}

}  // namespace

MemoryGradient::MemoryGradient(CrossMode mode, const DocumentPack& pack, at::ScalarType products,
                               std::unique_ptr<StatesStore> states, parallel::Communicator& ranks)
    : rows_B_(pack.rows_B),
      first_row_B_(pack.first_row_B),
      max_rows_(pack.max_rows),
      states_(std::move(states)),
      stored_(states_->type()) {
  at::Tensor sum_BTM;
  if (mode != CrossMode::kTwoSweep) {
    const at::Tensor none = states_->read(0, 0);
    sum_BTM = at::zeros({pack.size(), max_rows_, none.size(2)}, none.options().dtype(score_type(products)));
  }
  tape_ = std::make_shared<CrossTape>(mode, sum_BTM, ranks);
}

void MemoryGradient::back_propagate(const std::function<at::Tensor(nn::CrossAttention&)>& objective) {
  const MemorySource source{
      .rows_B = rows_B_,
      .first_row_B = first_row_B_,
      .max_rows = max_rows_,
      .read = [this](int64_t begin, int64_t rows) { return states_->read(begin, rows); }};
  StreamedCrossAttention attention(source, tape_);
  const at::Tensor value = objective(attention);
  if (tape_->ranks.leads()) {
    torch::autograd::backward({value}, {});
  } else {
    // Through the layers down to the first cross-attention, and to no parameter.
    torch::autograd::grad({value}, {tape_->anchor}, {}, std::nullopt, false, /*allow_unused=*/true);
  }
  states_.reset();
}

at::Tensor MemoryGradient::of(const at::Tensor& states_RM, const EncoderPack& windows) const {
  const at::NoGradGuard no_grad;
  const at::Tensor gradient_RM = tape_->mode == CrossMode::kTwoSweep
                                     ? made_again(states_RM, windows)
                                     : tape_->sum_BTM.flatten(0, 1).index_select(0, windows.to_R);
  return gradient_RM.to(states_RM.scalar_type());
}

at::Tensor MemoryGradient::made_again(const at::Tensor& states_RM, const EncoderPack& windows) const {
  // Rounded as the decoder read them.
  const at::Tensor read_RM = states_RM.to(stored_).to(states_RM.scalar_type());
  const at::Tensor d_states_RM =
      at::zeros_like(read_RM, read_RM.options().dtype(score_type(read_RM.scalar_type())));
  for (const CrossTape::Layer& layer : tape_->layers) {
    for (const MemorySegment& segment : windows.segments) add_segment(layer, segment, read_RM, d_states_RM);
  }
  return d_states_RM;
}

}  // namespace precis::memory

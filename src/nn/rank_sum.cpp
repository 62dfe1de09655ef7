// Tensors through a communicator of plain memory.
#include "nn/rank_sum.h"

#include <ATen/Dispatch.h>

namespace precis::nn {

namespace {

template <typename Reduce>
void reduce(parallel::Communicator& ranks, const at::Tensor& x, const Reduce& reduce) {
  if (ranks.size() == 1) return;
  const bool direct = x.device().is_cpu() && x.is_contiguous();
  const at::Tensor plain = direct ? x : x.to(at::kCPU).contiguous();
  AT_DISPATCH_FLOATING_TYPES(plain.scalar_type(), "reduce",
                             [&] { reduce(plain.data_ptr<scalar_t>(), plain.numel()); });
  if (!direct) x.copy_(plain);
}

}  // namespace

void sum_over(parallel::Communicator& ranks, at::Tensor x) {
  reduce(ranks, x, [&](auto* data, int64_t count) { ranks.sum(data, count); });
}

void maximum_over(parallel::Communicator& ranks, at::Tensor x) {
  reduce(ranks, x, [&](auto* data, int64_t count) { ranks.maximum(data, count); });
}

}  // namespace precis::nn

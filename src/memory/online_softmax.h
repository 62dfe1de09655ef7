// Attention over a memory block by block: what is carried from one block to the next (Milakov and Gimelshein
// 2018, online softmax). Letters: N independent problems, S queries, t rows of one block, E value width.
#pragma once

#include <ATen/ATen.h>

namespace precis::memory {

class OnlineSoftmax {
 public:
  // scores_NSt: of one block, changed in place; -inf where a row does not count. `factors_NSt`, where
  // defined, multiply the probabilities (dropout).
  void fold(at::Tensor scores_NSt, const at::Tensor& value_NtE, const at::Tensor& factors_NSt = {}) {
    const at::Tensor block_maximum = scores_NSt.amax(-1, true);
    const bool first = !maximum_.defined();
    const at::Tensor new_maximum = first ? block_maximum : at::maximum(maximum_, block_maximum);
    at::Tensor weights = scores_NSt.sub_(new_maximum).exp_();
    const at::Tensor block_total = weights.sum(-1, true);
    if (factors_NSt.defined()) weights.mul_(factors_NSt);
    if (first) {
      total_ = block_total;
      output_ = at::bmm(weights, value_NtE);
    } else {
      const at::Tensor rescale = maximum_.sub(new_maximum).exp_();
      total_.mul_(rescale).add_(block_total);
      output_.mul_(rescale).baddbmm_(weights, value_NtE);
    }
    maximum_ = new_maximum;
  }

  // softmax(scores) value over all blocks, [N, S, E]. Once, at the end.
  at::Tensor output() { return output_.div_(total_); }
  // log-sum-exp of each query's scores, [N, S, 1].
  at::Tensor lse() const { return maximum_.add(total_.log()); }

 private:
  at::Tensor maximum_, total_;  // [N, S, 1]
  at::Tensor output_;           // [N, S, E], not yet divided by the total
};

}  // namespace precis::memory

// Absorbed cross-attention, block by block. Letters as in cross_attention.h; t rows of one block.
#include "memory/absorbed_attention.h"

#include <algorithm>
#include <cmath>

#include "memory/cross_block.h"
#include "memory/online_softmax.h"
#include "nn/attention.h"

namespace precis::memory {

at::Tensor absorbed_attention(const MemoryBatch& memory, const at::Tensor& query_BSD,
                              const nn::CrossProjection& projection) {
  const at::ScalarType type = score_type(query_BSD.scalar_type());
  const int64_t B = query_BSD.size(0), S = query_BSD.size(1), T = memory.states_BTM.size(1);
  const int64_t H = projection.heads, E = query_BSD.size(2) / H, M = memory.states_BTM.size(2);
  const at::Tensor key_HEM = projection.key_weight_DM.to(type).view({H, E, M});
  const at::Tensor value_HEM = projection.value_weight_DM.to(type).view({H, E, M});

  // The key's bias adds the same to all scores of a query, which the softmax takes out again.
  const at::Tensor query_BHSE =
      nn::split_heads(query_BSD.to(type), H).mul(1.0 / std::sqrt(static_cast<double>(E)));
  const at::Tensor absorbed_BQM = at::matmul(query_BHSE, key_HEM).reshape({B, H * S, M});
  const int64_t block = rows_of_a_block(B * H * S, query_BSD.device());
  OnlineSoftmax softmax;
  for (int64_t begin = 0; begin < T; begin += block) {
    const int64_t t = std::min(block, T - begin);
    const at::Tensor states_BtM = memory.states_BTM.narrow(1, begin, t).to(type);
    const at::Tensor scores_BQt = at::bmm(absorbed_BQM, states_BtM.transpose(1, 2));
    if (memory.padded()) rule_out_padding(scores_BQt.view({B, H, S, t}), memory.rows_B, begin);
    softmax.fold(scores_BQt, states_BtM);
  }
  // The probabilities add up to one, so the value's bias is added once.
  at::Tensor context_BHSE = at::matmul(softmax.output().view({B, H, S, M}), value_HEM.transpose(1, 2));
  if (projection.value_bias_D.defined())
    context_BHSE.add_(projection.value_bias_D.to(type).view({1, H, 1, E}));
  return nn::join_heads(context_BHSE).to(query_BSD.scalar_type());
}

}  // namespace precis::memory

// Self-attention over a batch of padded rows.
// Letters: B rows, S positions, D width, H heads, E = D / H.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <vector>

#include "nn/dropout.h"

namespace precis::nn {

struct AttentionMask {
  bool causal = false;
  // [B, 1, 1, keys] bool, true where a key is attended to; undefined where nothing is padded. Not with
  // `causal`: padding at the end of a causal row is never seen by what precedes it.
  at::Tensor keys_B11K;
  // The same as the number of keys of each row that are, from the first one on, where it is that.
  std::vector<int64_t> lengths_B;

  // Of rows padded at the end, by their lengths.
  static AttentionMask padding(const std::vector<int64_t>& lengths_B, int64_t positions, at::Device device);
};

// [B, S, D] -> [B, H, S, E], a view.
at::Tensor split_heads(const at::Tensor& x_BSD, int64_t heads);
// [B, H, S, E] -> [B, S, D].
at::Tensor join_heads(const at::Tensor& x_BHSE);

// Whether attention() of many queries never makes its probabilities, [B, H, S, keys]: so without dropout, and
// with it where there are kernels (kernels/attention.h).
bool attention_is_fused(at::ScalarType type, at::Device device, int64_t head_width, bool dropout);

// softmax(q k' / sqrt(E)) v, [B, H, S, E], dropped by counter at `site`. By a kernel of ours where there is
// one, else by the library's fused kernel, which takes no dropout, else in the plain form.
at::Tensor attention(const at::Tensor& query_BHSE, const at::Tensor& key_BHKE, const at::Tensor& value_BHKE,
                     const AttentionMask& mask, const Dropout& dropout, uint64_t site);

// attention() whose backward pass is called by hand, for who decides what is kept until then.
class RecordedAttention {
 public:
  // Keeps what gradients() needs: the inputs and the result.
  at::Tensor forward(const at::Tensor& query_BHSE, const at::Tensor& key_BHKE, const at::Tensor& value_BHKE,
                     const AttentionMask& mask, const Dropout& dropout, uint64_t site);
  // The inputs need not be held until gradients(), if the same are given back before.
  void forget_inputs();
  void give_inputs(const at::Tensor& query_BHSE, const at::Tensor& key_BHKE, const at::Tensor& value_BHKE);
  const at::Tensor& output() const { return output_; }
  // By query, key and value, of the types and sizes of these.
  std::array<at::Tensor, 3> gradients(const at::Tensor& d_output_BHSE) const;

 private:
  at::Tensor query_, key_, value_, output_, lse_;
  AttentionMask mask_;
  Dropout dropout_;
  uint64_t site_ = 0;
};

// Bool [B, 1, 1, positions] from row lengths; undefined where every row is full.
at::Tensor key_mask(const std::vector<int64_t>& lengths_B, int64_t positions, at::Device device);

}  // namespace precis::nn

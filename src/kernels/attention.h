// Attention of queries over keys and values without its probabilities ever being held, forward and backward,
// for bfloat16 and float32 on a CPU: matrix products by libtorch's brgemm, everything between them in vectors
// (docs/decisions/0016). The softmax is online (Milakov and Gimelshein 2018), so that keys may come in
// blocks; the backward pass makes the probabilities again from their log-sum-exp (Dao et al. 2022). Letters:
// B rows of a batch, H heads, S queries, T keys, E head width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace precis::kernels {

// Whether attention() and the rest take tensors of this type, device and head width on this processor. Not
// where the environment's ATEN_CPU_CAPABILITY is less than avx512.
bool has_attention(at::ScalarType type, at::Device device, int64_t head_width);

struct AttentionSettings {
  // How many of the keys, from the first on, each row's queries attend to; empty: all.
  std::vector<int64_t> keys_B;
  bool causal = false;  // query s attends to keys 0 .. s alone
  // Of the probabilities, by counter: element (b, h, s, k) as nn::dropout() has it at column
  // first_key_B[b] + k (0 where that is empty) under `dropout_keys_B[b]` and `site`.
  double dropout = 0.0;
  std::vector<uint64_t> dropout_keys_B;
  uint64_t site = 0;
  std::vector<int64_t> first_key_B;
};

struct Attended {
  at::Tensor output_BHSE;  // in the queries' type; lies as [B, S, H, E] does
  at::Tensor lse_BHS;      // float32: log-sum-exp of the scores
};

// softmax(q k' / sqrt(E)) v. All of one type, strides at will but E without gaps.
Attended attention(const at::Tensor& query_BHSE, const at::Tensor& key_BHTE, const at::Tensor& value_BHTE,
                   const AttentionSettings& settings);

// The same over keys that come block by block; `settings` are of the block.
class AttentionFold {
 public:
  void fold(const at::Tensor& query_BHSE, const at::Tensor& key_BHTE, const at::Tensor& value_BHTE,
            const AttentionSettings& settings);
  // float32, [B, H, S, E] and [B, H, S]: 0 and -inf where nothing was attended to. Once, at the end.
  at::Tensor output();
  at::Tensor lse() const;

 private:
  at::Tensor output_BHSE_;              // not yet divided by the total
  at::Tensor maximum_BHS_, total_BHS_;  // of the scores times log2(e), and of 2^(score - maximum)
  float kept_ = 1.0F;                   // 1 / (1 - p) of the dropout
};

// rowsum(a * b) [B, H, S] in float32, of two in one type.
at::Tensor row_products(const at::Tensor& a_BHSE, const at::Tensor& b_BHSE);

// What is known of each query for the backward pass, over all keys.
struct AttentionGradientInput {
  at::Tensor d_output_BHSE;  // in the queries' type
  at::Tensor lse_BHS;        // float32
  at::Tensor delta_BHS;      // float32: rowsum(d_output * output), row_products()
};

// Gradients by the queries, keys and values of a block of keys. Each may be undefined, and is not made then.
struct AttentionGradients {
  at::Tensor d_query_BHSE;              // float32: added to
  at::Tensor d_key_BHTE, d_value_BHTE;  // in the keys' type: written; 0 where a key is not attended to
};
void attention_gradients(const at::Tensor& query_BHSE, const at::Tensor& key_BHTE,
                         const at::Tensor& value_BHTE, const AttentionGradientInput& input,
                         const AttentionSettings& settings, const AttentionGradients& gradients);

}  // namespace precis::kernels

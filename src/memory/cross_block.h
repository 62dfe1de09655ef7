// The arithmetic of streamed cross-attention on one block of memory rows, forward and backward (methods:
// CachED, Streaming cross-attention and Two-sweep): by the kernels where the processor has them
// (kernels/attention.h), by libtorch's flash attention on a GPU, else by plain matrix products, with 16-bit
// types scored in float32. Letters: B documents, H heads, N = B * H, S queries, t rows of the block, E = head
// width, M memory width, D = H * E.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "kernels/attention.h"
#include "memory/online_softmax.h"
#include "nn/cross_attention.h"

namespace precis::memory {

// The type of scores and sums: float32 for the 16-bit types, else the type itself.
at::ScalarType score_type(at::ScalarType type);

// Memory rows of a block where each has `scores_a_row` scores (queries * heads): few enough that neither the
// scores nor the keys and values of a block weigh much, and enough for fast matrix products.
int64_t rows_of_a_block(int64_t scores_a_row, at::Device device = at::kCPU);

// -inf, in place, where a row of the block that starts at memory row `begin` is not the document's own.
void rule_out_padding(at::Tensor scores_BHSt, const std::vector<int64_t>& rows_B, int64_t begin);

// One layer's queries of some documents, and the dropout of their probabilities.
struct CrossQueries {
  // By a kernel of ours, by libtorch's flash attention on a GPU, or by plain products.
  enum class How { kKernel, kFlash, kPlain } how = How::kPlain;
  // As they are; for plain products times 1 / sqrt(E), in the type of scores.
  at::Tensor query_NSE;
  at::ScalarType products = at::kFloat;  // the queries' own type, which keys and values are made in
  int64_t heads = 0;
  std::vector<int64_t> rows_B;       // memory rows of each document
  std::vector<int64_t> first_row_B;  // of these in the whole document's memory: dropout goes by it
  double dropout = 0.0;
  std::vector<uint64_t> keys_B;  // of the dropout
  uint64_t site = 0;

  CrossQueries(const at::Tensor& query_BSD, int64_t heads, std::vector<int64_t> rows_B,
               std::vector<int64_t> first_row_B, const nn::Dropout& dropout, int64_t layer);
  // Of document b alone; views.
  CrossQueries document(int64_t b) const;
};

// What a layer's backward pass needs of each query.
struct QueryGradients {
  at::Tensor lse_NS1;       // log-sum-exp of the scores over the whole memory
  at::Tensor gradient_NSE;  // dO, of the output; in the type of the queries
  at::Tensor delta_NS1;     // rowsum(dO . O)
  at::Tensor output_NSE;    // O, in the type of the queries, which flash attention wants instead

  // `gradient_NSE` in the type of scores, as the others are.
  QueryGradients(const CrossQueries& queries, const at::Tensor& lse_NS1, const at::Tensor& gradient_NSE,
                 const at::Tensor& output_NSE);
  QueryGradients document(int64_t b, int64_t heads) const;
};

// [B, t, D] -> [N, t, E] in another type, and back.
at::Tensor to_heads(const at::Tensor& x_BtD, int64_t heads, at::ScalarType type);
at::Tensor from_heads(const at::Tensor& x_NtE, int64_t heads);

// Keys and values of a block, in the states' type.
struct KeysAndValues {
  at::Tensor key_BtD, value_BtD;

  KeysAndValues() = default;
  KeysAndValues(const at::Tensor& states_BtM, const nn::CrossProjection& projection);
};

// The output over blocks of memory rows.
class CrossFold {
 public:
  explicit CrossFold(const CrossQueries& queries) : queries_(queries) {}
  // Of the block that starts at memory row `begin`. Rows that are not a document's own are left out.
  void fold(const KeysAndValues& block, int64_t begin);
  // In the type of scores, [N, S, E] and [N, S, 1]; once, at the end. Not for documents without rows.
  at::Tensor output();
  at::Tensor lse() const;

 private:
  const CrossQueries& queries_;
  OnlineSoftmax plain_;
  kernels::AttentionFold kernel_;
  at::Tensor flash_output_NSE_, flash_lse_NS1_;  // float32
};

// Of a block's keys and values, [B * t, D] each.
struct BlockGradients {
  at::Tensor d_key_RD, d_value_RD;
};
// Adds to the gradient of the queries before their scaling, [N, S, E] in the type of scores, where it is
// defined. The keys' and values' are made where `of_rows` says so.
BlockGradients block_gradients(const CrossQueries& queries, const QueryGradients& gradients,
                               const KeysAndValues& block, int64_t begin, const at::Tensor& d_query_NSE,
                               bool of_rows);

// Adds up the gradient of the keys' and values' projection in the parameters' `.grad`, which is made where
// there is none.
class ProjectionGradient {
 public:
  explicit ProjectionGradient(const nn::CrossProjection& projection) : projection_(projection) {}

  // Of rows [R, M] of the memory, by the gradients [R, D] of their keys and values. Returns the rows' own
  // gradient [R, M]. Products are made in the states' type.
  at::Tensor add(const at::Tensor& states_RM, const at::Tensor& d_key_RD, const at::Tensor& d_value_RD) const;

 private:
  nn::CrossProjection projection_;
};

}  // namespace precis::memory

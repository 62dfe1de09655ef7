// The arithmetic of streamed cross-attention on one block of memory rows: scores, and the gradient of scores
// (methods: CachED, Streaming cross-attention and Two-sweep).
// Letters: B documents, H heads, N = B * H, S queries, t rows of the block, E = head width, M memory width,
// D = H * E.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "nn/cross_attention.h"

namespace precis::memory {

// The type of scores and sums: float32 for the 16-bit types, else the type itself.
at::ScalarType score_type(at::ScalarType type);

// Memory rows of a block where each has `scores_a_row` scores (queries * heads): few enough that neither the
// scores nor the keys and values of a block weigh much, and enough for fast matrix products.
int64_t rows_of_a_block(int64_t scores_a_row);

// -inf, in place, where a row of the block that starts at memory row `begin` is not the document's own.
void rule_out_padding(at::Tensor scores_BHSt, const std::vector<int64_t>& rows_B, int64_t begin);

// One layer's queries of some documents, and the dropout of their probabilities.
struct CrossQueries {
  at::Tensor query_NSE;                  // times 1 / sqrt(E), in the type of scores
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
  // [N, S, t] of the block that starts at memory row `begin`, -inf at rows that are not a document's own.
  at::Tensor scores(const at::Tensor& key_NtE, int64_t begin) const;
  // What dropout multiplies that block's probabilities with, 0 or 1 / (1 - p); undefined without dropout.
  at::Tensor dropout_factors(int64_t t, int64_t begin) const;
};

// What a layer's backward pass needs of each query.
struct QueryGradients {
  at::Tensor lse_NS1;       // log-sum-exp of the scores over the whole memory
  at::Tensor gradient_NSE;  // dO, of the output
  at::Tensor delta_NS1;     // rowsum(dO . O)

  QueryGradients document(int64_t b, int64_t heads) const;
};

// [N, S, t] each: the probabilities as the output used them (dropped), and the gradient of the scores.
// Then dQ = d_scores K, dK = d_scores' Q, dV = dropped' dO.
struct ScoreGradients {
  at::Tensor dropped, d_scores;
};
ScoreGradients score_gradients(const CrossQueries& queries, const QueryGradients& gradients,
                               const at::Tensor& key_NtE, const at::Tensor& value_NtE, int64_t begin);

// [B, t, D] -> [N, t, E] in the type of scores, and back.
at::Tensor to_heads(const at::Tensor& x_BtD, int64_t heads);
at::Tensor from_heads(const at::Tensor& x_NtE, int64_t heads);

// Keys and values of a block, [B, t, D] each, in the states' type.
struct KeysAndValues {
  struct Heads {
    at::Tensor key_NtE, value_NtE;  // in the type of scores
  };

  at::Tensor key_BtD, value_BtD;
  int64_t heads_ = 0;

  KeysAndValues() = default;
  KeysAndValues(const at::Tensor& states_BtM, const nn::CrossProjection& projection);
  Heads heads() const { return {to_heads(key_BtD, heads_), to_heads(value_BtD, heads_)}; }
};

// Adds up the gradient of the keys' and values' projection in the parameters' `.grad`, which is made where
// there is none.
class ProjectionGradient {
 public:
  explicit ProjectionGradient(const nn::CrossProjection& projection) : projection_(projection) {}

  // Of rows [R, M] of the memory, by the gradients [R, D] of their keys and values, in the type of scores.
  // Returns the rows' own gradient [R, M]. Products are made in the states' type.
  at::Tensor add(const at::Tensor& states_RM, const at::Tensor& d_key_RD, const at::Tensor& d_value_RD) const;

 private:
  nn::CrossProjection projection_;
};

}  // namespace precis::memory

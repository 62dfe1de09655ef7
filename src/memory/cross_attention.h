// How a decoder that writes attends to documents' memory: with a layer's keys and values held, or absorbed.
// Both give the result of streamed attention (streamed_attention.h), which training and scoring use. Letters:
// B documents, T memory rows (padded), M memory width, D decoder width, H heads, E = D / H, S queries.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "nn/cross_attention.h"
#include "nn/packed_linear.h"

namespace precis::memory {

// The memory of a pack of documents as the decoder sees it.
struct MemoryBatch {
  at::Tensor states_BTM;        // rows past a document's own are never attended to
  std::vector<int64_t> rows_B;  // memory rows of each document, >= 1

  bool padded() const;
};

// Projects K and V of a layer at its first use and holds them, 2 D elements a row and layer. Evaluation only,
// as the library's fused attention takes no dropout.
class HeldCrossAttention : public nn::CrossAttention {
 public:
  explicit HeldCrossAttention(MemoryBatch memory);
  at::Tensor attend(int64_t layer, const at::Tensor& query_BSD, const nn::CrossProjection& projection,
                    const nn::Dropout& dropout) override;

 private:
  struct Projected {
    at::Tensor key_BHTE;
    at::Tensor value_BHTE;
  };
  MemoryBatch memory_;
  at::Tensor mask_B11T_;  // bool, true where attended; undefined where nothing is padded
  std::unordered_map<int64_t, Projected> layers_;
};

// For decoding, a few queries at a time: the first `held_layers` layers hold keys and values, packed for
// products of few rows (nn/packed_linear.h) where they can be; the others, of a memory too long for every
// layer's, are absorbed (absorbed_attention.h). Evaluation only: no dropout, no gradient.
class DecodingCrossAttention : public nn::CrossAttention {
 public:
  DecodingCrossAttention(MemoryBatch memory, int64_t held_layers);
  at::Tensor attend(int64_t layer, const at::Tensor& query_BSD, const nn::CrossProjection& projection,
                    const nn::Dropout& dropout) override;

 private:
  // For each document and head, keys [T, E] and values transposed [E, T].
  struct Packed {
    nn::PackedWeight keys, values;
  };
  at::Tensor attend_packed(const Packed& layer, const at::Tensor& query_BSD, int64_t heads) const;

  MemoryBatch memory_;
  HeldCrossAttention held_;
  int64_t held_layers_;
  std::unordered_map<int64_t, Packed> packed_layers_;
};

}  // namespace precis::memory

// The documents' memory as beams see it: the beams (or sequences) of a document are queries to one memory,
// which is never copied. Letters: B documents, K beams, R = live documents * K rows, D decoder width.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/cross_attention.h"

namespace precis::generate {

class BeamCrossAttention : public nn::CrossAttention {
 public:
  // `memory` holds all B documents and outlives this.
  BeamCrossAttention(nn::CrossAttention& memory, int64_t documents, int64_t beams);

  // The documents that the rows of the following calls belong to, ascending.
  void set_live(const std::vector<int64_t>& documents);

  // query_R1D -> [R, 1, D]. Evaluation only: no dropout.
  at::Tensor attend(int64_t layer, const at::Tensor& query_R1D, const nn::CrossProjection& projection,
                    const nn::Dropout& dropout) override;

 private:
  nn::CrossAttention& memory_;
  int64_t documents_;
  int64_t beams_;
  at::Tensor live_;  // int64; undefined where all are live
};

}  // namespace precis::generate

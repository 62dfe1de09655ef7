// Beams as the query positions of their document.
#include "generate/beam_cross_attention.h"

namespace precis::generate {

BeamCrossAttention::BeamCrossAttention(nn::CrossAttention& memory, int64_t documents, int64_t beams)
    : memory_(memory), documents_(documents), beams_(beams) {}

void BeamCrossAttention::set_live(const std::vector<int64_t>& documents) {
  live_ =
      static_cast<int64_t>(documents.size()) == documents_ ? at::Tensor() : at::tensor(documents, at::kLong);
}

at::Tensor BeamCrossAttention::attend(int64_t layer, const at::Tensor& query_R1D,
                                      const nn::CrossProjection& projection, const nn::Dropout& dropout) {
  const int64_t width = query_R1D.size(2);
  const at::Tensor query_LKD = query_R1D.reshape({-1, beams_, width});
  at::Tensor context;
  if (!live_.defined()) {
    context = memory_.attend(layer, query_LKD, projection, dropout);
  } else {
    const at::Tensor live = live_.to(query_R1D.device());
    at::Tensor query_BKD = at::zeros({documents_, beams_, width}, query_R1D.options());
    query_BKD.index_copy_(0, live, query_LKD);
    context = memory_.attend(layer, query_BKD, projection, dropout).index_select(0, live);
  }
  return context.reshape({-1, 1, width});
}

}  // namespace precis::generate

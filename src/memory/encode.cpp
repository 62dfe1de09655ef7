// Encoding packs of windows into the memory of a pack of documents.
#include "memory/encode.h"

#include <torch/csrc/autograd/autograd.h>

#include "base/random.h"

namespace precis::memory {

namespace {

// Stands for the decoder where a window's index stands for a window.
constexpr uint64_t kDecoderRow = UINT64_MAX;

uint64_t document_key(const StepDropout& dropout, int64_t document) {
  const uint64_t update = combine(dropout.seed, static_cast<uint64_t>(dropout.step));
  return combine(update, dropout.document_keys.at(document));
}

nn::Dropout rates(const StepDropout& dropout) {
  return {
      .hidden = dropout.hidden, .attention = dropout.attention, .activation = dropout.activation, .rows = {}};
}

std::vector<EncoderPack> window_packs(const models::BartModel& model, const DocumentPack& pack) {
  return pack_windows(pack, model.config().pad_token_id, model.device());
}

at::Tensor encode_flat(const models::BartModel& model, const DocumentPack& pack, const EncoderPack& windows,
                       const StepDropout& dropout) {
  const at::Tensor states_WCM =
      model.encode(windows.ids_WC, windows.lengths_W, dropout.windows(pack, windows));
  return states_WCM.reshape({-1, states_WCM.size(2)});
}

}  // namespace

nn::Dropout StepDropout::windows(const DocumentPack& pack, const EncoderPack& windows) const {
  nn::Dropout result = rates(*this);
  if (document_keys.empty()) return result;
  for (size_t w = 0; w < windows.lengths_W.size(); ++w) {
    const uint64_t key = document_key(*this, pack.documents[windows.document_W[w]]);
    result.rows.push_back(combine(key, static_cast<uint64_t>(windows.window_W[w])));
  }
  return result;
}

nn::Dropout StepDropout::decoder(const DocumentPack& pack) const {
  nn::Dropout result = rates(*this);
  if (document_keys.empty()) return result;
  for (const int64_t document : pack.documents) {
    result.rows.push_back(combine(document_key(*this, document), kDecoderRow));
  }
  return result;
}

MemoryBatch encode_pack(const models::BartModel& model, const DocumentPack& pack, const StepDropout& dropout,
                        const StopToken* stop, const EncodeProgress& progress) {
  const at::NoGradGuard no_grad;
  int64_t total = 0, done = 0;
  for (const auto& windows : pack.windows_B) total += static_cast<int64_t>(windows.size());
  const int64_t B = pack.size(), M = model.config().d_model;
  const auto options = at::TensorOptions().dtype(model.activation_type()).device(model.device());
  const at::Tensor memory_RM = at::zeros({B * pack.max_rows, M}, options);
  for (const EncoderPack& windows : window_packs(model, pack)) {
    throw_if_stopped(stop);
    const at::Tensor states_RM = encode_flat(model, pack, windows, dropout);
    memory_RM.index_copy_(0, windows.to_R, states_RM.index_select(0, windows.from_R));
    done += static_cast<int64_t>(windows.lengths_W.size());
    if (progress) progress(done, total);
  }
  return {memory_RM.view({B, pack.max_rows, M}), pack.rows_B};
}

MemoryBatch encode_pack_with_graph(const models::BartModel& model, const DocumentPack& pack,
                                   const StepDropout& dropout, const StopToken* stop) {
  std::vector<at::Tensor> kept, places;
  for (const EncoderPack& windows : window_packs(model, pack)) {
    throw_if_stopped(stop);
    kept.push_back(encode_flat(model, pack, windows, dropout).index_select(0, windows.from_R));
    places.push_back(windows.to_R);
  }
  const int64_t B = pack.size(), M = model.config().d_model;
  const at::Tensor empty_RM = at::zeros({B * pack.max_rows, M}, kept.front().options());
  return {empty_RM.index_copy(0, at::cat(places), at::cat(kept)).view({B, pack.max_rows, M}), pack.rows_B};
}

void backward_through_windows(const models::BartModel& model, const DocumentPack& pack,
                              const StepDropout& dropout, const at::Tensor& gradient_BTM,
                              const StopToken* stop) {
  const at::Tensor gradient_RM = gradient_BTM.reshape({-1, gradient_BTM.size(2)});
  for (const EncoderPack& windows : window_packs(model, pack)) {
    throw_if_stopped(stop);
    const at::Tensor states_RM = encode_flat(model, pack, windows, dropout);
    const at::Tensor window_gradient =
        at::zeros_like(states_RM).index_copy_(0, windows.from_R, gradient_RM.index_select(0, windows.to_R));
    torch::autograd::backward({states_RM}, {window_gradient});
  }
}

}  // namespace precis::memory

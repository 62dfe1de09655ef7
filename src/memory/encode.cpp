// Encoding packs of windows into the memory of a pack of documents.
#include "memory/encode.h"

#include <torch/csrc/autograd/autograd.h>

#include <utility>

#include "base/random.h"

namespace precis::memory {

namespace {

using models::EncoderGraph;

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

EncoderPack call_of(const models::BartModel& model, const WindowPacks& calls, int64_t call) {
  return calls.at(call, model.config().pad_token_id);
}

// The kept rows [R, M] of one encoder call.
at::Tensor encode_windows(const models::BartModel& model, const DocumentPack& pack,
                          const EncoderPack& windows, const StepDropout& dropout, EncoderGraph graph) {
  const at::Tensor states_WCM =
      model.encode(windows.ids_WC, windows.lengths_W, dropout.windows(pack, windows), graph);
  return states_WCM.flatten(0, 1).index_select(0, windows.from_R);
}

// Takes a call's positions from what is left; once one does not fit, none does.
bool takes(int64_t& left, int64_t positions) {
  const bool fits = positions <= left;
  left = fits ? left - positions : 0;
  return fits;
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
  const auto options = at::TensorOptions().dtype(model.activation_type()).device(model.device());
  const at::Tensor states_BTM = at::zeros({pack.size(), pack.max_rows, model.config().d_model}, options);
  const WindowPacks calls(pack, model.device());
  for (int64_t call = 0; call < calls.size(); ++call) {
    throw_if_stopped(stop);
    const EncoderPack windows = call_of(model, calls, call);
    states_BTM.flatten(0, 1).index_copy_(0, windows.to_R,
                                         encode_windows(model, pack, windows, dropout, EncoderGraph::kFull));
    done += static_cast<int64_t>(windows.lengths_W.size());
    if (progress) progress(done, total);
  }
  return {states_BTM, pack.rows_B};
}

std::vector<at::Tensor> encode_for_training(const models::BartModel& model, const DocumentPack& pack,
                                            const StepDropout& dropout, Retention retained,
                                            StatesStore& states, const StopToken* stop,
                                            const StepProgress& progress) {
  std::vector<at::Tensor> graphs;
  const WindowPacks calls(pack, model.device());
  if (progress) progress(StepPhase::kEncoding, 0, calls.size());
  for (int64_t call = 0; call < calls.size(); ++call) {
    throw_if_stopped(stop);
    const EncoderPack windows = call_of(model, calls, call);
    const bool full = takes(retained.full, calls.positions(call));
    const bool lean = !full && takes(retained.lean, calls.positions(call));
    const at::AutoGradMode with_graph(full || lean);
    const at::Tensor states_RM =
        encode_windows(model, pack, windows, dropout, full ? EncoderGraph::kFull : EncoderGraph::kLean);
    if (full || lean) graphs.push_back(states_RM);
    states.put(states_RM.detach(), windows);
    if (progress) progress(StepPhase::kEncoding, call + 1, calls.size());
  }
  return graphs;
}

void backward_through_windows(const models::BartModel& model, const DocumentPack& pack,
                              const StepDropout& dropout, std::vector<at::Tensor> graphs,
                              const MemoryGradient& gradient, const StopToken* stop,
                              const StepProgress& progress) {
  const WindowPacks calls(pack, model.device());
  if (progress) progress(StepPhase::kWindows, 0, calls.size());
  for (int64_t call = 0; call < calls.size(); ++call) {
    throw_if_stopped(stop);
    const EncoderPack windows = call_of(model, calls, call);
    at::Tensor states_RM;
    if (call < static_cast<int64_t>(graphs.size())) {
      states_RM = std::exchange(graphs[static_cast<size_t>(call)], at::Tensor());
    } else {
      states_RM = encode_windows(model, pack, windows, dropout, EncoderGraph::kFull);
    }
    torch::autograd::backward({states_RM}, {gradient.of(states_RM.detach(), windows)});
    if (progress) progress(StepPhase::kWindows, call + 1, calls.size());
  }
}

}  // namespace precis::memory

// From windows to memory: the encoder over packs of windows, with or without a graph.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/stop.h"
#include "memory/cross_attention.h"
#include "memory/encode_schedule.h"
#include "memory/memory_gradient.h"
#include "memory/packs.h"
#include "memory/states_store.h"
#include "models/bart/bart.h"
#include "nn/dropout.h"

namespace precis::memory {

// The dropout of one update. Every mask is a function of (seed, step, document, window, layer, site), so that
// encoding a window again gives the same states whatever shares its pack.
struct StepDropout {
  double hidden = 0.0;
  double attention = 0.0;
  double activation = 0.0;
  uint64_t seed = 0;
  int64_t step = 0;
  std::vector<uint64_t> document_keys;  // of the caller's documents; empty: evaluation, no dropout

  nn::Dropout windows(const DocumentPack& pack, const EncoderPack& windows) const;
  nn::Dropout decoder(const DocumentPack& pack) const;
};

// Called after each encoder call with the windows encoded so far, and all of them.
using EncodeProgress = std::function<void(int64_t done, int64_t total)>;

// Without a graph: one buffer [B, T, M], filled pack by pack. Throws Error with the stop token's reason.
MemoryBatch encode_pack(const models::BartModel& model, const DocumentPack& pack, const StepDropout& dropout,
                        const StopToken* stop = nullptr, const EncodeProgress& progress = {});

// What a training step is at: windows encoded, the decoder's two passes, the windows' gradients.
enum class StepPhase { kEncoding, kDecoding, kWindows };
// Called at the beginning of each phase, with 0, and after each of its `total` encoder calls.
using StepProgress = std::function<void(StepPhase phase, int64_t done, int64_t total)>;

// For training: puts the states into `states`, and keeps the graphs of the first encoder calls, as `retained`
// says. Returns those calls' kept rows [R, M].
std::vector<at::Tensor> encode_for_training(const models::BartModel& model, const DocumentPack& pack,
                                            const StepDropout& dropout, Retention retained,
                                            StatesStore& states, const StopToken* stop = nullptr,
                                            const StepProgress& progress = {});

// Back-propagates the gradient of every window's rows, one encoder call at a time: through its graph where it
// was kept, which is then given back, else encoding it again.
void backward_through_windows(const models::BartModel& model, const DocumentPack& pack,
                              const StepDropout& dropout, std::vector<at::Tensor> graphs,
                              const MemoryGradient& gradient, const StopToken* stop = nullptr,
                              const StepProgress& progress = {});

}  // namespace precis::memory

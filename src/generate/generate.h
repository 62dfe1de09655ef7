// Summaries of documents whose memory is at hand: the decoder, its cache and a search, step by step.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/stop.h"
#include "generate/generation_config.h"
#include "generate/search.h"
#include "models/bart/bart.h"
#include "nn/cross_attention.h"

namespace precis::generate {

struct Callbacks {
  // After each step: the tokens written so far for the longest document (the start token is not counted), and
  // the documents that are still being written.
  std::function<void(int64_t tokens, int64_t live_documents)> on_step;
  const StopToken* stop = nullptr;  // looked at before each step
};

// One result a document, in the order of `memory`'s. `memory` answers queries [documents, num_beams, D]. Each
// document's result is that of its run alone (up to rounding in the model's arithmetic). Deterministic.
// Throws Error of the stop token's reason; kUsage where max_length passes the decoder's positions.
std::vector<Generated> generate(const models::BartModel& model, nn::CrossAttention& memory, int64_t documents,
                                const GenerationConfig& config, const Callbacks& callbacks = {});

}  // namespace precis::generate

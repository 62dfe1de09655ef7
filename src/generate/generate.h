// Summaries of documents whose memory is at hand: the decoder, its cache and a search, step by step.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/stop.h"
#include "generate/generation_config.h"
#include "generate/search.h"
#include "memory/packs.h"
#include "models/bart/bart.h"
#include "nn/cross_attention.h"

namespace precis::generate {

struct Callbacks {
  // After each step: the tokens written so far for the longest document (the start token is not counted), and
  // the documents that are still being written.
  std::function<void(int64_t tokens, int64_t live_documents)> on_step;
  // After each step, for each document that is still being written: the ids, start token included, that its
  // first sequence is sure to begin with. They only ever grow.
  std::function<void(int64_t document, const TokenSequence& ids)> on_certain = {};
  const StopToken* stop = nullptr;  // looked at before each step
};

// How many documents are best written in one call, at most: each sequence has scores of the whole vocabulary.
int64_t documents_at_once(const GenerationConfig& config);

// The documents of a pack, in its order, with the keys first_key + their index. Where
// config.reads_document(), `read` is what one window of any length would hold: BOS, the query, the whole
// text, EOS. So an n-gram that windows cut in two counts, and none that only their ends make.
std::vector<SearchedDocument> searched_documents(const GenerationConfig& config,
                                                 const memory::DocumentPack& pack, uint64_t first_key = 0);

// config.num_return_sequences results for each document, in the order of `memory`'s. `memory` answers queries
// [documents, config.rows(), D]. Each document's result is that of its run alone (up to rounding in the
// model's arithmetic). Deterministic: draws depend on the seed, the document's key, the sequence and the
// position alone. Throws Error of the stop token's reason; kUsage where max_length passes the decoder's
// positions, and where sampling finds every token ruled out.
std::vector<std::vector<Generated>> generate(const models::BartModel& model, nn::CrossAttention& memory,
                                             std::vector<SearchedDocument> documents,
                                             const GenerationConfig& config, const Callbacks& callbacks = {});

}  // namespace precis::generate

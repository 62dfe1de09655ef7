// The gradient of a batch of whole documents (methods: CachED): encode, decode, back-propagate, under a
// schedule that decides how the encoder's part is obtained. Every schedule gives the same gradient.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/stop.h"
#include "memory/encode.h"
#include "memory/encode_schedule.h"
#include "memory/windows.h"
#include "models/bart/bart.h"
#include "parallel/communicator.h"

namespace precis::memory {

// One document and its summary, as ids.
struct Example {
  DocumentTokens document;
  std::vector<int32_t> target;  // BOS + tokens + EOS: all of them are scored
  uint64_t key = 0;             // names the document for dropout, for example combine(epoch, row)
  std::string id;               // for messages
};

struct GradientOptions {
  Way way;  // how it is computed; never the schedule kAuto
  // Given: each pack of documents is computed in the fastest way within so many bytes instead (cost.h).
  std::optional<int64_t> bytes;
  std::optional<at::ScalarType> memory_type;   // of the stored states; null: the products'
  std::optional<std::filesystem::path> spill;  // where states may go that the bytes leave no room for
  int64_t window = 1024;
  double label_smoothing = 0.0;
  // The gradient is that of weight * (sum of the tokens' objective): 1 / target tokens of the whole update.
  double weight = 1.0;
  // Share every document's windows; null: this process alone. The gradient is then the sum of the ranks'.
  parallel::Communicator* ranks = nullptr;
  StepProgress progress;
  StepDropout dropout;  // document_keys are taken from the examples; set seed, step and rates
};

// Of several ranks, the leader's: the others have 0.
struct BatchLoss {
  double nll_sum = 0.0;  // unsmoothed, natural log
  int64_t target_tokens = 0;
  int64_t source_tokens = 0;  // text tokens
};

// Adds to `.grad` of every parameter of the model (set_requires_grad(true) first). Throws Error{kUsage} for a
// window that does not fit, Error with the stop's reason in between; the gradient is then incomplete.
BatchLoss accumulate_gradient(const models::BartModel& model, const std::vector<Example>& examples,
                              const GradientOptions& options, const StopToken* stop = nullptr);

struct DocumentLoss {
  double nll_sum = 0.0;
  int64_t tokens = 0;  // of the target, BOS and EOS included
};

// Losses of a pack's documents, in the pack's order, over their memory: no gradient, no dropout; keys and
// values are streamed. `pack.documents` are indices into `examples`.
std::vector<DocumentLoss> pack_losses(const models::BartModel& model, const std::vector<Example>& examples,
                                      const DocumentPack& pack, const MemoryBatch& memory);

}  // namespace precis::memory

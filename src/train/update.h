// One update: the gradient of its documents in micro-batches, clipped, one step of the optimiser.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/stop.h"
#include "memory/gradient.h"
#include "models/bart/bart.h"
#include "train/optimizer.h"
#include "train/rank_grid.h"

namespace precis::train {

struct UpdateOptions {
  memory::GradientOptions gradient;  // weight is set here: 1 / target tokens of the whole update
  int64_t batch_documents = 1;       // documents computed together
  double clip_norm = 0.0;            // 0: off
  double learning_rate = 0.0;
  const RankGrid* ranks = nullptr;  // null: this process alone
};

// The documents of one update. Each is made when its batch is computed: an accumulation's, of any number,
// need not be in memory together.
struct UpdateDocuments {
  int64_t count = 0;
  int64_t target_tokens = 0;                         // of all of them
  std::function<memory::Example(int64_t index)> at;  // from 0
};

// Documents that are in memory, and stay there.
UpdateDocuments documents_of(const std::vector<memory::Example>& examples);

struct UpdateResult {
  double loss = 0.0;       // unsmoothed, mean over the update's target tokens
  double grad_norm = 0.0;  // before clipping
  int64_t source_tokens = 0;
  int64_t target_tokens = 0;
};

// The gradient is that of the mean over all target tokens of `documents`, however they are split, over ranks
// too: all of them call this with the same documents. Where it or the loss is not finite: Error{kNonFinite}
// naming the documents, parameters and optimiser untouched; the same for a stop in between, which is an Error
// of the token's reason.
UpdateResult apply_update(const models::BartModel& model, Optimizer& optimizer,
                          const UpdateDocuments& documents, const UpdateOptions& options,
                          const StopToken* stop = nullptr);

}  // namespace precis::train

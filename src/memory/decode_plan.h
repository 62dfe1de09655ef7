// How a pack of documents is decoded within a memory budget: how many decoder layers can hold the keys and
// values of the whole memory; the others are absorbed (absorbed_attention.h).
#pragma once

#include <cstdint>
#include <optional>

#include "memory/packs.h"
#include "models/bart/bart.h"

namespace precis::memory {

struct DecodeRequest {
  int64_t sequences = 1;   // of a document at once: its beams, or what is sampled for it
  int64_t max_length = 0;  // of a summary
  std::optional<int64_t>
      budget;  // bytes of the whole program; without one, 70 % of what the machine, or the GPU, has for it
};

struct DecodePlan {
  int64_t held_layers = 0;
  int64_t layers = 0;
  int64_t tensors = 0;  // bytes beside what the program holds already
  int64_t total =
      0;  // of the whole program while the pack is encoded and decoded; on a GPU of its memory there

  int64_t absorbed_layers() const { return layers - held_layers; }
};

// Before the pack is encoded: the program as it stands, weights included, the states, one encoder call, then
// keys and values, caches of the beams and their scores. As many layers are held as fit. Throws
// Error{kBudget} with the numbers where the budget can't be met with none; without a budget nothing is
// refused.
DecodePlan plan_decoding(const models::BartModel& model, const DocumentPack& pack,
                         const DecodeRequest& request);

}  // namespace precis::memory

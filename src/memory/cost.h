// What training on one pack of documents takes, from shapes alone: bytes and arithmetic, for every schedule
// and any number of retained graphs (methods: CachED, The dial). The one place that knows; the plan of a data
// set (plan.h) and every step ask it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "memory/encode_schedule.h"
#include "memory/packs.h"
#include "models/bart/bart.h"

namespace precis::memory {

// The largest that can come of a data set.
struct PlanData {
  int64_t longest_document = 0;  // text tokens
  int64_t longest_query = 0;
  int64_t longest_target = 0;  // BOS and EOS included
  int64_t documents = 1;       // at once: a batch, or a whole set that is scored
  int64_t ranks = 1;           // that share each document's windows
};

// A pack of documents: one decoder call.
struct PackShape {
  int64_t longest_rows = 0;    // of a document's memory
  int64_t rows = 0;            // of memory, padding included
  int64_t positions = 0;       // of the encoder, padding included
  int64_t call_positions = 0;  // of the largest encoder call
  int64_t targets = 0;         // positions of the decoder, padding included
  int64_t longest_target = 0;

  // The longest document, or several shorter ones up to the packs' bounds, each with the longest target.
  static PackShape largest(const models::BartConfig& config, int64_t window, const PlanData& data,
                           at::Device device = at::kCPU);
  static PackShape of(const DocumentPack& pack, int64_t longest_target, at::Device device);
  int64_t documents() const { return longest_target == 0 ? 1 : targets / longest_target; }
};

struct PlanPart {
  std::string name;
  int64_t bytes = 0;
};

// Parts that are held together.
struct PlanPhase {
  std::string name;
  std::vector<PlanPart> parts;

  int64_t bytes() const;
};

struct CostSettings {
  int64_t window = 1024;
  bool attention_dropout = false;
  std::optional<at::ScalarType> memory_type;  // of the stored states; null: the products'
  bool may_spill = false;                     // the states may go to a file
};

class CostModel {
 public:
  CostModel(const models::BartModel& model, const CostSettings& settings);

  at::Device device() const { return device_; }
  // Of the stored states.
  at::ScalarType memory_type() const { return memory_type_; }

  // One after another. Weights, gradients and optimiser are not among them.
  std::vector<PlanPhase> phases(const PackShape& shape, const Way& way) const;
  // Of the largest phase.
  int64_t bytes(const PackShape& shape, const Way& way) const;
  // Floating-point operations of the matrix products, two for a multiplication and an addition.
  double flops(const PackShape& shape, const Way& way) const;
  // Of the ways within so many bytes the one with the least arithmetic: a schedule, and as many graphs
  // retained as there is room for. The leanest where none is.
  Way fastest(const PackShape& shape, int64_t bytes) const;

  // Elements, as large as scores, of one block of streamed attention: over at most so many memory rows of
  // each document, by so many queries of each. Those of its rows' own gradients only where they are made.
  int64_t block_elements(int64_t most_rows, int64_t documents, int64_t targets, bool with_gradients) const;

 private:
  int64_t encoder_graph_bytes(const PackShape& shape, bool lean) const;  // a position
  int64_t plain_scores(const PackShape& shape) const;                    // bytes of a position and layer
  int64_t decoder_graph_bytes(const PackShape& shape) const;             // a target
  // Whole encoder calls only, and no more than there are.
  Retention retained(const PackShape& shape, const Way& way) const;
  // The most that fits beside `schedule`, which itself fits: all in part before any in full.
  Retention most_retained(const PackShape& shape, EncodeSchedule schedule, int64_t bytes) const;

  models::BartConfig config_;
  CostSettings settings_;
  at::Device device_;
  at::ScalarType memory_type_;
  int64_t weight_;        // bytes an element of weights, norms and sums
  int64_t product_;       // of matrix products
  int64_t state_;         // of the memory
  int64_t score_;         // of scores and their sums
  bool cross_kernels_;    // streamed attention is by the kernels
  bool encoder_kernels_;  // the encoder's attention is
  bool fused_;            // no attention within a row makes its probabilities
};

}  // namespace precis::memory

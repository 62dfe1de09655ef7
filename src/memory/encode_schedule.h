// How the encoder's part of the gradient is obtained (methods: CachED, The dial). Every schedule gives the
// same gradient; they trade arithmetic for memory.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace precis::memory {

enum class EncodeSchedule {
  kAuto,              // by the cost model (cost.h)
  kKept,              // as cached, and all graphs retained: nothing is made again
  kCached,            // gradient caching: two encodes, the gradient of the memory held in between
  kStreamed,          // as cached, and no layer's keys and values are held
  kTwoSweep,          // as streamed, and the memory's gradient is made window by window
  kLayerSynchronous,  // not built
};

// The names of PRODUCT's `encoder.schedule`.
const char* name(EncodeSchedule schedule);
// Throws Error{kUsage} for any other name.
EncodeSchedule parse_schedule(const std::string& text);

// How the decoder's side holds the memory.
enum class CrossMode {
  kHeld,      // keys, values and gradient of the memory held: 2 D elements a row and layer, and M
  kStreamed,  // the gradient of the memory held: M
  kTwoSweep,  // neither
};

// Of the encoder: how many positions of encoder calls, padding included, have their graphs retained rather
// than made again: the first calls', as many as fit.
struct Retention {
  int64_t full = 0;
  int64_t lean = 0;  // behind these, in part (models/bart/bart_encoder_graph.h)
};

// A schedule, and what it retains.
struct Way {
  EncodeSchedule schedule = EncodeSchedule::kCached;  // never kAuto
  Retention retained;
  bool spilled = false;  // the encoder's states in a file
};

inline constexpr int64_t kAllPositions = std::numeric_limits<int64_t>::max();

// The schedule as its name says: kept retains all graphs, the others none. kAuto has no such way.
Way way_of(EncodeSchedule schedule);

// Throws Error{kUnsupported} for what is not built.
CrossMode cross_mode(EncodeSchedule schedule);

}  // namespace precis::memory

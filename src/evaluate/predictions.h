// Predictions at hand against their references: two JSON Lines files joined by `id` (PRODUCT, evaluate).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/stop.h"
#include "evaluate/report.h"

namespace precis::evaluate {

struct PredictionFiles {
  std::filesystem::path predictions;  // rows with `id` and `prediction`, or `summary`
  std::filesystem::path references;   // rows with `id` and `summaries`, or `summary`
  std::string summary_field;          // of the references; empty: those two
};

struct ScoredPairs {
  int64_t pairs = 0;
  int64_t empty_references = 0;  // pairs without a reference that holds any text
};

// Adds every pair to `scores`, in the references' order. The predictions are held, the references read one at
// a time. Throws Error{kData} for an id that is missing on either side, or is there twice, naming its row,
// and where there is no pair; Error with the stop's reason in between.
ScoredPairs score_predictions(const PredictionFiles& files, Scores& scores, const StopToken* stop = nullptr);

}  // namespace precis::evaluate

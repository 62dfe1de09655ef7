// The scores of a data set: documents are added one after another, means and intervals come out at the end
// (PRODUCT, evaluate).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/stop.h"
#include "evaluate/bootstrap.h"
#include "evaluate/rouge.h"
#include "memory/gradient.h"

namespace precis::evaluate {

struct Metrics {
  bool rouge = false;
  bool qa = false;
  bool loss = false;
  bool stemmer = true;  // of ROUGE

  bool predictions() const { return rouge || qa; }
};

// "rouge", "qa" and "loss". Throws Error{kUsage} naming the one that is none of them, and for an empty list.
Metrics parse_metrics(const std::vector<std::string>& names);

// A plain mean over documents, and the 95 % interval of its bootstrap.
struct Mean {
  double value = 0.0;
  Interval interval;
};

struct RougeMean {
  double precision = 0.0;
  double recall = 0.0;
  Mean fmeasure;
};

struct Report {
  int64_t documents = 0;
  std::optional<std::array<RougeMean, 4>> rouge;  // in the order of kRougeNames, 0 to 1
  std::optional<Mean> exact_match;                // in percent, as SQuAD's
  std::optional<Mean> f1;                         // in percent
  std::optional<double> loss;                     // token-weighted mean, natural log
  int64_t tokens = 0;                             // of the targets
};

// Two systems on the same documents: the baseline's mean, and the paired bootstrap of the difference.
struct Comparison {
  double baseline = 0.0;
  PairedBootstrap paired;
};

struct Comparisons {
  std::optional<std::array<Comparison, 4>> rouge;  // F-measures, in the order of kRougeNames, 0 to 1
  std::optional<Comparison> exact_match;           // in percent
  std::optional<Comparison> f1;                    // in percent
};

class Scores {
 public:
  // A stop that is requested while ROUGE compares long texts is an Error of its reason.
  explicit Scores(const Metrics& metrics, const StopToken* stop = nullptr) : metrics_(metrics), stop_(stop) {}

  // A document's prediction against its references, at least one.
  void add_prediction(std::span<const std::string> references, const std::string& prediction);
  void add_loss(const memory::DocumentLoss& loss);

  // At least one document must have been added.
  Report report() const;

  // `baseline` has been given the same documents in the same order, for the same metrics.
  Comparisons compare(const Scores& baseline) const;

 private:
  Metrics metrics_;
  const StopToken* stop_;
  std::array<std::vector<Score>, 4> rouge_;
  std::vector<double> exact_match_, f1_;
  double nll_sum_ = 0.0;
  int64_t tokens_ = 0;
  int64_t predictions_ = 0;
  int64_t losses_ = 0;
};

}  // namespace precis::evaluate

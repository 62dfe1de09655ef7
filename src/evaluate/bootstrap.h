// Bootstrap resampling over documents (Efron 1979), with a fixed seed: the same scores give the same
// interval.
#pragma once

#include <cstdint>
#include <span>

namespace precis::evaluate {

struct Interval {
  double low = 0.0;
  double high = 0.0;
};

inline constexpr int kBootstrapResamples = 1000;

// The 2.5 and 97.5 percentiles of the mean over resampled documents. `values` not empty.
Interval bootstrap_mean(std::span<const double> values, uint64_t seed = 0);

struct PairedBootstrap {
  double difference = 0.0;        // mean of a minus mean of b
  double share_not_better = 0.0;  // of the resamples, those where a is not above b: a one-sided p-value
};

// `a` and `b` score the same documents in the same order.
PairedBootstrap paired_bootstrap(std::span<const double> a, std::span<const double> b, uint64_t seed = 0);

}  // namespace precis::evaluate

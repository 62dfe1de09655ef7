// Means of resampled documents.
#include "evaluate/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/random.h"

namespace precis::evaluate {

namespace {

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<double> resampled_means(std::span<const double> values, uint64_t seed) {
  CounterRandom random{combine(0x626f6f74, seed)};
  std::vector<double> means(kBootstrapResamples);
  for (double& result : means) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[random.below(values.size())];
    result = sum / static_cast<double>(values.size());
  }
  return means;
}

// With linear interpolation, as numpy.percentile.
double percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(std::floor(place));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - static_cast<double>(below));
}

}  // namespace

Interval bootstrap_mean(std::span<const double> values, uint64_t seed) {
  std::vector<double> means = resampled_means(values, seed);
  std::sort(means.begin(), means.end());
  return {percentile(means, 0.025), percentile(means, 0.975)};
}

PairedBootstrap paired_bootstrap(std::span<const double> a, std::span<const double> b, uint64_t seed) {
  std::vector<double> differences(a.size());
  for (size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  const std::vector<double> means = resampled_means(differences, seed);
  const auto not_better = std::count_if(means.begin(), means.end(), [](double value) { return value <= 0; });
  return {mean(differences), static_cast<double>(not_better) / kBootstrapResamples};
}

}  // namespace precis::evaluate

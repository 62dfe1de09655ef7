// Sentence permutation and text infilling.
#include "data/denoise.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/shuffle.h"

namespace precis {

namespace {

// [0, 1)
double uniform(CounterRandom& random) { return static_cast<double>(random.next() >> 11) * 0x1.0p-53; }

// By multiplying until e^-lambda is passed (Knuth): exact for a lambda up to some hundreds.
int64_t poisson(double lambda, CounterRandom& random) {
  const double least = std::exp(-lambda);
  int64_t count = 0;
  for (double product = uniform(random); product > least; product *= uniform(random)) ++count;
  return count;
}

int64_t share_of(double ratio, size_t count) { return std::llround(ratio * static_cast<double>(count)); }

std::vector<int32_t> permute(std::span<const int32_t> ids, std::span<const int32_t> begins, double ratio,
                             CounterRandom& random) {
  std::vector<size_t> order(begins.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<size_t> places = order;
  shuffle(places, random);
  places.resize(static_cast<size_t>(share_of(ratio, begins.size())));
  std::vector<size_t> moved = places;
  shuffle(moved, random);
  for (size_t i = 0; i < places.size(); ++i) order[places[i]] = moved[i];
  std::vector<int32_t> result;
  result.reserve(ids.size());
  for (const size_t sentence : order) {
    const size_t begin = static_cast<size_t>(begins[sentence]);
    const size_t end = sentence + 1 < begins.size() ? static_cast<size_t>(begins[sentence + 1]) : ids.size();
    result.insert(result.end(), ids.begin() + static_cast<std::ptrdiff_t>(begin),
                  ids.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return result;
}

std::vector<int32_t> infill(const std::vector<int32_t>& ids, const DenoiseOptions& options,
                            CounterRandom& random) {
  const int64_t masked = share_of(options.mask_ratio, ids.size());
  std::vector<int64_t> spans = draw_spans(masked, options.poisson_lambda, random);
  uint64_t kept = ids.size() - static_cast<size_t>(masked);
  std::vector<int32_t> result;
  result.reserve(kept + spans.size());
  auto next = ids.begin();
  while (kept + spans.size() > 0) {
    if (random.below(kept + spans.size()) < spans.size()) {
      result.push_back(options.mask_id);
      next += spans.back();
      spans.pop_back();
    } else {
      result.push_back(*next++);
      --kept;
    }
  }
  return result;
}

}  // namespace

std::vector<int64_t> draw_spans(int64_t tokens, double poisson_lambda, CounterRandom& random) {
  std::vector<int64_t> spans;
  int64_t empty = 0;
  for (int64_t left = tokens; left > 0;) {
    const int64_t length = std::min(poisson(poisson_lambda, random), left);
    length > 0 ? spans.push_back(length) : void(++empty);
    left -= length;
  }
  empty = std::min(empty, tokens - static_cast<int64_t>(spans.size()));
  spans.insert(spans.end(), static_cast<size_t>(empty), 0);
  shuffle(spans, random);  // or the cut one would always be the last
  return spans;
}

std::vector<int32_t> add_noise(std::span<const int32_t> ids, std::span<const int32_t> sentence_begins,
                               const DenoiseOptions& options, uint64_t key) {
  CounterRandom random{key};
  return infill(permute(ids, sentence_begins, options.permute_sentences, random), options, random);
}

}  // namespace precis

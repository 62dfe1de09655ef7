// Filters as tensor operations in transformers' own order, so that they round as there; draws by counter.
#include "generate/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "generate/ruled_out.h"

namespace precis::generate {

namespace {

// Of the likeliest tokens, those that top_h looks at.
constexpr int64_t kTopHTokens = 100;

// The `least` likeliest tokens' lowest score, [R, 1].
at::Tensor kept_from(const at::Tensor& scores_RV, int64_t least) {
  const int64_t count = std::min(least, scores_RV.size(1));
  return std::get<0>(scores_RV.topk(count)).narrow(1, count - 1, 1);
}

// Of torch.distributions.Categorical: what is ruled out adds the least float times 0.
at::Tensor entropy_R(const at::Tensor& scores_RV) {
  const at::Tensor log_probabilities = scores_RV - scores_RV.logsumexp(1, /*keepdim=*/true);
  const double least = std::numeric_limits<float>::lowest();
  return -(log_probabilities.clamp_min(least) * log_probabilities.softmax(1)).sum(1);
}

at::Tensor outside_top_h(const at::Tensor& scores_RV, double top_h) {
  const auto [top, places] = scores_RV.topk(std::min(kTopHTokens, scores_RV.size(1)));
  const at::Tensor probabilities = (top - top.logsumexp(1, true)).softmax(1);
  const at::Tensor tau = (entropy_R(top) * top_h).unsqueeze(1);
  at::Tensor kept = (-probabilities * probabilities.log()).cumsum(1) <= tau;
  kept.select(1, 0).fill_(true);
  return at::zeros_like(scores_RV, at::kBool).scatter_(1, places, kept).logical_not();
}

at::Tensor outside_top_p(const at::Tensor& scores_RV, double top_p, int64_t least) {
  const auto [ascending, places] = scores_RV.sort(1);
  at::Tensor removed = ascending.softmax(1).cumsum(1) <= 1.0 - top_p;
  const int64_t kept = std::min(least, removed.size(1));
  removed.narrow(1, removed.size(1) - kept, kept).fill_(false);
  return removed.scatter(1, places, removed);
}

at::Tensor below_min_p(const at::Tensor& scores_RV, double min_p, int64_t least) {
  const at::Tensor probabilities = scores_RV.softmax(1);
  at::Tensor removed = probabilities < probabilities.amax({1}, true) * min_p;
  const int64_t kept = std::min(least, removed.size(1));
  return removed.scatter_(1, std::get<1>(probabilities.topk(kept)), false);
}

at::Tensor atypical(const at::Tensor& scores_RV, double mass, int64_t least) {
  const at::Tensor normalised = scores_RV.log_softmax(1);
  const at::Tensor entropy = -(normalised * normalised.exp()).nansum(1, /*keepdim=*/true);
  const auto [distance, places] = (-normalised - entropy).abs().sort(1);
  const at::Tensor cumulative = scores_RV.gather(1, places).softmax(1).cumsum(1);
  const at::Tensor last = (cumulative < mass).sum(1).clamp_max(scores_RV.size(1) - 1);
  at::Tensor removed = distance > distance.gather(1, last.view({-1, 1}));
  removed.narrow(1, 0, std::min(least, removed.size(1))).fill_(false);
  return removed.scatter(1, places, removed);
}

// Unlikelier than `cutoff` ([R, 1] or a number), and not among the likeliest.
template <typename Cutoff>
at::Tensor below_cutoff(const at::Tensor& scores_RV, const Cutoff& cutoff, int64_t least) {
  return (scores_RV.softmax(1) < cutoff).logical_and(scores_RV < kept_from(scores_RV, least));
}

at::Tensor below_eta(const at::Tensor& scores_RV, double epsilon, int64_t least) {
  const at::Tensor epsilon_R = at::full({1}, epsilon, scores_RV.options());
  const at::Tensor eta_R = at::minimum(epsilon_R, epsilon_R.sqrt() * (-entropy_R(scores_RV)).exp());
  return below_cutoff(scores_RV, eta_R.unsqueeze(1), least);
}

// In (0, 1).
double uniform(uint64_t key) { return (static_cast<double>(mix64(key) >> 12) + 0.5) * 0x1p-52; }

}  // namespace

void filter(const Sampling& sampling, int64_t least, at::Tensor& scores_RV) {
  const auto leave_out = [&](const at::Tensor& removed) { scores_RV.masked_fill_(removed, kRuledOut); };
  if (sampling.temperature != 1.0) scores_RV.div_(sampling.temperature);
  if (sampling.top_h) leave_out(outside_top_h(scores_RV, *sampling.top_h));
  if (sampling.top_k > 0) leave_out(scores_RV < kept_from(scores_RV, std::max(sampling.top_k, least)));
  if (sampling.top_p < 1.0) leave_out(outside_top_p(scores_RV, sampling.top_p, least));
  if (sampling.min_p) leave_out(below_min_p(scores_RV, *sampling.min_p, least));
  if (sampling.typical_p < 1.0) leave_out(atypical(scores_RV, sampling.typical_p, least));
  const auto cuts = [](double cutoff) { return cutoff > 0.0 && cutoff < 1.0; };
  if (cuts(sampling.epsilon_cutoff)) leave_out(below_cutoff(scores_RV, sampling.epsilon_cutoff, least));
  if (cuts(sampling.eta_cutoff)) leave_out(below_eta(scores_RV, sampling.eta_cutoff, least));
}

uint64_t Draw::key(uint64_t sequence) const {
  return combine(combine(combine(seed, document), sequence), position);
}

int64_t draw_token(const at::Tensor& scores_V, uint64_t key) {
  const float* scores = scores_V.const_data_ptr<float>();
  const int64_t count = scores_V.numel();
  const float* const likeliest = std::max_element(scores, scores + count);
  const double greatest = *likeliest;
  if (!std::isfinite(greatest)) return likeliest - scores;
  double total = 0.0;
  for (int64_t v = 0; v < count; ++v) total += std::exp(scores[v] - greatest);
  double left = uniform(key) * total;
  int64_t token = -1;
  for (int64_t v = 0; v < count; ++v) {
    const double weight = std::exp(scores[v] - greatest);
    if (weight <= 0.0) continue;
    token = v;  // the last one stands where rounding leaves a rest
    left -= weight;
    if (left < 0.0) break;
  }
  return token;
}

std::vector<int64_t> draw_places(const at::Tensor& scores_N, int64_t count, uint64_t key) {
  const float* scores = scores_N.const_data_ptr<float>();
  std::vector<double> noisy(static_cast<size_t>(scores_N.numel()), kRuledOut);
  for (size_t i = 0; i < noisy.size(); ++i) {
    if (scores[i] == kRuledOut) continue;
    if (!std::isfinite(scores[i])) {  // first, so that it is seen
      noisy[i] = std::numeric_limits<double>::infinity();
      continue;
    }
    noisy[i] = scores[i] - std::log(-std::log(uniform(combine(key, i))));
  }
  std::vector<int64_t> places(noisy.size());
  std::iota(places.begin(), places.end(), 0);
  const auto before = [&](int64_t a, int64_t b) {
    const double x = noisy[static_cast<size_t>(a)], y = noisy[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  };
  std::partial_sort(places.begin(), places.begin() + count, places.end(), before);
  places.resize(static_cast<size_t>(count));
  return places;
}

}  // namespace precis::generate

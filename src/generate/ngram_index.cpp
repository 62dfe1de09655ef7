// A sorted list of places, searched by prefix.
#include "generate/ngram_index.h"

#include <algorithm>
#include <numeric>

namespace precis::generate {

NgramIndex::NgramIndex(std::vector<int32_t> ids, int64_t size) : ids_(std::move(ids)), size_(size) {
  const int64_t count = static_cast<int64_t>(ids_.size()) - size + 1;
  if (count <= 0) return;
  places_.resize(static_cast<size_t>(count));
  std::iota(places_.begin(), places_.end(), 0);
  const auto gram = [&](int32_t place) { return ids_.begin() + place; };
  std::sort(places_.begin(), places_.end(), [&](int32_t a, int32_t b) {
    return std::lexicographical_compare(gram(a), gram(a) + size, gram(b), gram(b) + size);
  });
  const auto same = [&](int32_t a, int32_t b) { return std::equal(gram(a), gram(a) + size, gram(b)); };
  places_.erase(std::unique(places_.begin(), places_.end(), same), places_.end());
}

std::vector<int64_t> NgramIndex::completions(std::span<const int32_t> row) const {
  const int64_t known = size_ - 1;
  if (static_cast<int64_t>(row.size()) < known) return {};
  const std::span<const int32_t> prefix = row.last(static_cast<size_t>(known));
  const auto beginning = [&](int32_t place) {
    return std::span(ids_).subspan(static_cast<size_t>(place), static_cast<size_t>(known));
  };
  const auto below = [](std::span<const int32_t> a, std::span<const int32_t> b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  };
  const auto first = std::partition_point(places_.begin(), places_.end(),
                                          [&](int32_t place) { return below(beginning(place), prefix); });
  const auto last = std::partition_point(first, places_.end(),
                                         [&](int32_t place) { return !below(prefix, beginning(place)); });
  std::vector<int64_t> tokens;
  for (auto place = first; place != last; ++place)
    tokens.push_back(ids_[static_cast<size_t>(*place + known)]);
  return tokens;
}

}  // namespace precis::generate

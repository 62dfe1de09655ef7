// The n-grams of a document, found by their beginning.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace precis::generate {

class NgramIndex {
 public:
  // Every n-gram of `size` >= 1 in `ids`, each kept once. Four bytes an n-gram beside the ids.
  NgramIndex(std::vector<int32_t> ids, int64_t size);

  // The last tokens of the n-grams that begin with the end of `row`; none for a row shorter than that.
  std::vector<int64_t> completions(std::span<const int32_t> row) const;

 private:
  std::vector<int32_t> ids_;
  int64_t size_;
  std::vector<int32_t> places_;  // of the n-grams, in their lexicographic order
};

}  // namespace precis::generate

// Tensors from and to weight files: types mapped, values cast to the type that is asked for.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/stop.h"
#include "io/weight_files.h"

namespace precis::models {

// Throws Error{kInternal} for a type that no weight has.
WeightType weight_type(at::ScalarType type);
// "float32", "bfloat16", ...: what transformers writes as `dtype` in config.json.
std::string dtype_name(at::ScalarType type);

// Reads every byte of every weight. Values that are not finite, and a file cut since it was opened, are
// Error{kModel} naming weight and file, or Error{kIo}. Returns the number of bytes, each counted once where
// tied weights share them.
int64_t check_finite(const WeightFiles& files, const StopToken* stop);

// The name of the first tensor with a value that is not finite.
std::optional<std::string> first_not_finite(const std::vector<std::pair<std::string, at::Tensor>>& tensors);

// Takes named tensors out of a model's files and keeps account, so that every missing, misshapen or left-over
// name can be told at once.
class WeightReader {
 public:
  WeightReader(const WeightFiles& files, at::ScalarType dtype);

  // The tensor under the first of `names` that is in the files (or that the files' metadata declare an alias
  // of one that is), cast to the reader's type. Where none is there, or its shape is another, an undefined
  // tensor, remembered under names.front(). Present names after the first must hold the same bytes:
  // Error{kModel} else.
  at::Tensor take(const std::vector<std::string>& names, at::IntArrayRef shape);
  // As `take`, but missing is fine.
  at::Tensor take_if_present(const std::vector<std::string>& names, at::IntArrayRef shape);

  // Throws Error{kModel} listing what `take` did not find or found in another shape.
  void check_complete() const;
  // Names in the files that nobody took.
  std::vector<std::string> unexpected() const;

 private:
  std::string resolve(const std::string& name) const;
  at::Tensor read(const WeightInfo& info) const;
  void check_equal(const WeightInfo& first, const WeightInfo& second) const;

  const WeightFiles& files_;
  at::ScalarType dtype_;
  std::set<std::string> taken_;
  std::vector<std::string> missing_;
  std::vector<std::string> misshapen_;
};

}  // namespace precis::models

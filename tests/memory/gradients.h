// Gradients of a model by the names of its parameters, and documents of many lengths, for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "memory/gradient.h"
#include "memory/small_bart.h"

namespace precis::memory {

using Gradients = std::map<std::string, at::Tensor>;

inline constexpr EncodeSchedule kSchedules[] = {EncodeSchedule::kKept, EncodeSchedule::kCached,
                                                EncodeSchedule::kStreamed, EncodeSchedule::kTwoSweep};

inline Gradients collect(models::BartModel& model) {
  Gradients gradients;
  for (const auto& [name, parameter] : model.parameters()) {
    gradients[name] = parameter.grad().defined() ? parameter.grad().clone() : at::zeros_like(parameter);
    parameter.mutable_grad() = at::Tensor();
  }
  return gradients;
}

inline double largest(const Gradients& gradients) {
  double result = 0;
  for (const auto& [name, gradient] : gradients)
    result = std::max(result, gradient.abs().max().item<double>());
  return result;
}

inline void expect_equal(const Gradients& got, const Gradients& want, double tolerance) {
  const double scale = largest(want);
  ASSERT_GT(scale, 0);
  for (const auto& [name, gradient] : want) {
    const double difference = (got.at(name) - gradient).abs().max().item<double>();
    EXPECT_LT(difference, tolerance * scale) << name;
  }
}

inline std::vector<Example> mixed_examples() {
  return {example(1, 5, 1), example(38, 2, 2), example(39, 9, 3),    example(76, 4, 4),    example(200, 7, 5),
          example(0, 3, 6), example(77, 1, 7), example(20, 6, 8, 5), example(90, 6, 9, 11)};
}

}  // namespace precis::memory

// The learning rate of every update (PRODUCT, `schedule`).
#pragma once

#include <cstdint>
#include <string>

namespace precis::train {

enum class ScheduleName { kConstant, kLinear, kInverseSqrt };

// "constant", "linear", "inverse_sqrt"; Error{kUsage} for anything else.
ScheduleName schedule_name(const std::string& text);

struct Schedule {
  ScheduleName name = ScheduleName::kLinear;
  double rate = 1e-4;
  int64_t warmup_steps = 0;
  int64_t total_steps = 1;

  // The rate of update t = 1..total_steps. `rate * t / warmup` while t <= warmup; then constant, linear to 0
  // at total_steps, or `rate * sqrt(warmup / t)` (a warm-up of 0 counts as 1 there). time_fraction: the part
  // of a time limit that is spent, 0 where there is none; the linear decay is at least that far along, so
  // that it reaches 0 when the time is up.
  double at(int64_t t, double time_fraction = 0.0) const;
};

}  // namespace precis::train

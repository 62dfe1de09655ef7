// Warm-up and decay of the learning rate.
#include "train/schedule.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace precis::train {

ScheduleName schedule_name(const std::string& text) {
  if (text == "constant") return ScheduleName::kConstant;
  if (text == "linear") return ScheduleName::kLinear;
  if (text == "inverse_sqrt") return ScheduleName::kInverseSqrt;
  throw Error(ErrorKind::kUsage, {.what = "unknown schedule", .where = "schedule.name", .found = text});
}

double Schedule::at(int64_t t, double time_fraction) const {
  if (t <= warmup_steps) return rate * static_cast<double>(t) / static_cast<double>(warmup_steps);
  switch (name) {
    case ScheduleName::kConstant:
      return rate;
    case ScheduleName::kLinear: {
      const double after = static_cast<double>(t - warmup_steps);
      const double decay = static_cast<double>(std::max<int64_t>(1, total_steps - warmup_steps));
      return rate * std::clamp(1.0 - std::max(after / decay, time_fraction), 0.0, 1.0);
    }
    case ScheduleName::kInverseSqrt: {
      const double warmup = static_cast<double>(std::max<int64_t>(1, warmup_steps));
      return rate * std::sqrt(warmup / static_cast<double>(t));
    }
  }
  return rate;
}

}  // namespace precis::train

// Names of schedules, and what they stand for.
#include "memory/encode_schedule.h"

#include "base/error.h"

namespace precis::memory {

const char* name(EncodeSchedule schedule) {
  switch (schedule) {
    case EncodeSchedule::kAuto:
      return "auto";
    case EncodeSchedule::kKept:
      return "kept";
    case EncodeSchedule::kCached:
      return "cached";
    case EncodeSchedule::kStreamed:
      return "streamed";
    case EncodeSchedule::kTwoSweep:
      return "two_sweep";
    case EncodeSchedule::kLayerSynchronous:
      return "layer_synchronous";
  }
  return "";
}

EncodeSchedule parse_schedule(const std::string& text) {
  for (const EncodeSchedule schedule :
       {EncodeSchedule::kAuto, EncodeSchedule::kKept, EncodeSchedule::kCached, EncodeSchedule::kStreamed,
        EncodeSchedule::kTwoSweep, EncodeSchedule::kLayerSynchronous}) {
    if (text == name(schedule)) return schedule;
  }
  throw Error(ErrorKind::kUsage, {.what = "unknown schedule", .where = "encoder.schedule", .found = text});
}

Way way_of(EncodeSchedule schedule) {
  return {schedule, {.full = schedule == EncodeSchedule::kKept ? kAllPositions : 0}};
}

CrossMode cross_mode(EncodeSchedule schedule) {
  switch (schedule) {
    case EncodeSchedule::kKept:
    case EncodeSchedule::kCached:
      return CrossMode::kHeld;
    case EncodeSchedule::kStreamed:
      return CrossMode::kStreamed;
    case EncodeSchedule::kTwoSweep:
      return CrossMode::kTwoSweep;
    case EncodeSchedule::kAuto:
    case EncodeSchedule::kLayerSynchronous:
      break;
  }
  throw Error(ErrorKind::kUnsupported,
              {.what = std::string("the schedule ") + name(schedule) + " is not built",
               .where = "encoder.schedule",
               .expected = "kept, cached, streamed or two_sweep"});
}

}  // namespace precis::memory

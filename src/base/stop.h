// Looking at a stop token between steps of long work.
#pragma once

#include "base/error.h"
#include "precis/stop.h"

namespace precis {

// Throws Error of the token's reason where a stop was requested. No token, no stop.
inline void throw_if_stopped(const StopToken* stop) {
  if (stop != nullptr && stop->requested()) throw Error(stop->reason(), {.what = "stopped by a signal"});
}

}  // namespace precis

// Cooperative stop: a signal handler or a caller sets it, long work looks at it between steps.
#pragma once

#include <atomic>

#include "precis/error.h"

namespace precis {

class StopToken {
 public:
  // Async-signal-safe. kInterrupted or kTerminated.
  void request(ErrorKind reason) noexcept { reason_.store(static_cast<int>(reason)); }
  bool requested() const noexcept { return reason_.load() != kNone; }
  // Only where requested().
  ErrorKind reason() const noexcept { return static_cast<ErrorKind>(reason_.load()); }

 private:
  static constexpr int kNone = -1;
  std::atomic<int> reason_{kNone};
};

}  // namespace precis

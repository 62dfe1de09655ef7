// How much memory this process uses, as the kernel counts it.
#pragma once

#include <sys/resource.h>

#include <cstdint>

namespace precis {

// The high-water mark of the resident set since the process began.
inline int64_t peak_memory_bytes() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace precis

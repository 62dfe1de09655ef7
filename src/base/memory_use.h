// How much memory this process uses, as the kernel counts it.
#pragma once

#include <cstdint>

namespace precis {

// The high-water mark of the resident set since this program was started.
int64_t peak_memory_bytes();

}  // namespace precis

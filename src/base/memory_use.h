// How much memory this process uses, as the kernel counts it.
#pragma once

#include <cstdint>

namespace precis {

// The high-water mark of the resident set since this program was started.
int64_t peak_memory_bytes();

// What of this program is in memory now.
int64_t resident_memory_bytes();

// What the machine can give to programs without swapping: the file cache counts as free.
int64_t available_memory_bytes();

}  // namespace precis

// The high-water mark from /proc/self/status.
#include "base/memory_use.h"

#include <sys/resource.h>

#include <fstream>
#include <string>

namespace precis {

int64_t peak_memory_bytes() {
  // VmHWM belongs to this program's own memory. ru_maxrss, for systems without /proc, also counts the process
  // that it was started from: a small program under a large shell, a test or a notebook would seem large.
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    int64_t kibibytes = 0;
    if (word == "VmHWM:" && status >> kibibytes) return kibibytes * 1024;
  }
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace precis

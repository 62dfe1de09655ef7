// What /proc says.
#include "base/memory_use.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <string>

namespace precis {

namespace {

// Of a line "name:  number kB".
std::optional<int64_t> read_bytes(const char* file, const std::string& name) {
  std::ifstream lines(file);
  for (std::string word; lines >> word;) {
    int64_t kibibytes = 0;
    if (word == name && lines >> kibibytes) return kibibytes * 1024;
  }
  return std::nullopt;
}

}  // namespace

int64_t peak_memory_bytes() {
  // VmHWM belongs to this program's own memory. ru_maxrss, for systems without /proc, also counts the process
  // that it was started from: a small program under a large shell, a test or a notebook would seem large.
  if (const auto bytes = read_bytes("/proc/self/status", "VmHWM:")) return *bytes;
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

int64_t resident_memory_bytes() {
  return read_bytes("/proc/self/status", "VmRSS:").value_or(peak_memory_bytes());
}

int64_t available_memory_bytes() {
  if (const auto bytes = read_bytes("/proc/meminfo", "MemAvailable:")) return *bytes;
  return int64_t{sysconf(_SC_AVPHYS_PAGES)} * sysconf(_SC_PAGESIZE);
}

}  // namespace precis

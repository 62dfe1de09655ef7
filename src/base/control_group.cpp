// Limits in /sys/fs/cgroup.
#include "base/control_group.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>

namespace precis {

namespace fs = std::filesystem;

namespace {

std::optional<int64_t> integer(const std::string& text) {
  int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, result] = std::from_chars(text.data(), end, value);
  if (result != std::errc() || stop != end) return std::nullopt;
  return value;
}

// The first words of a file; empty ones where it has fewer.
struct Words {
  std::string first, second;
};
Words words_of(const fs::path& file) {
  Words words;
  std::ifstream(file) >> words.first >> words.second;
  return words;
}

template <class Number>
void tighten(std::optional<Number>& limit, Number other) {
  limit = limit ? std::min(*limit, other) : other;
}

// Version 1 writes "no limit" as the largest multiple of a page.
constexpr int64_t kUnlimited = int64_t{1} << 60;

void read_memory(const fs::path& file, ControlGroupLimits& limits) {
  const auto bytes = integer(words_of(file).first);  // "max" is no number
  if (bytes && *bytes > 0 && *bytes < kUnlimited) tighten(limits.memory_bytes, *bytes);
}

void read_cpus(const std::optional<int64_t>& quota, const std::optional<int64_t>& period,
               ControlGroupLimits& limits) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return;
  tighten(limits.cpus, static_cast<double>(*quota) / static_cast<double>(*period));
}

void read_version_2(const fs::path& group, ControlGroupLimits& limits) {
  read_memory(group / "memory.max", limits);
  const Words cpu = words_of(group / "cpu.max");
  read_cpus(integer(cpu.first), integer(cpu.second), limits);
}

void read_version_1(const fs::path& group, ControlGroupLimits& limits) {
  read_memory(group / "memory.limit_in_bytes", limits);
  read_cpus(integer(words_of(group / "cpu.cfs_quota_us").first),
            integer(words_of(group / "cpu.cfs_period_us").first), limits);
}

}  // namespace

ControlGroupLimits control_group_limits(const fs::path& root) {
  ControlGroupLimits limits;
  const fs::path mounted = root / "sys/fs/cgroup";
  std::ifstream lines(root / "proc/self/cgroup");
  // "0::/a/b" of version 2, "4:cpu,cpuacct:/a/b" of version 1.
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path top = mounted / controllers;
    // A container may see its own group as the mount's top, under whatever path it has outside.
    for (fs::path path = fs::path(line.substr(second + 1)).relative_path();; path = path.parent_path()) {
      controllers.empty() ? read_version_2(top / path, limits) : read_version_1(top / path, limits);
      if (path.empty()) break;
    }
  }
  return limits;
}

}  // namespace precis

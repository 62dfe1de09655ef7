// What the kernel's control groups (containers, batch systems, service managers) let this process have.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace precis {

// Nothing where there is no limit, or none can be read.
struct ControlGroupLimits {
  std::optional<int64_t> memory_bytes;
  std::optional<double> cpus;  // processors' worth of time
};

// The tightest limits of the process's group and the groups above it, of version 2 and version 1. `root`
// stands for "/": a folder that holds /proc/self/cgroup and /sys/fs/cgroup.
ControlGroupLimits control_group_limits(const std::filesystem::path& root = "/");

}  // namespace precis

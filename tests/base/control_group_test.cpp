// Limits of both versions of control groups, from trees as the kernel shows them.
#include "base/control_group.h"

#include <gtest/gtest.h>

#include "base/temporary_directory.h"

namespace precis {
namespace {

TEST(ControlGroup, TheTightestLimitOfTheGroupsAboveCounts) {
  const TemporaryDirectory root;
  root.write("proc/self/cgroup", "0::/machine/job/step\n");
  root.write("sys/fs/cgroup/machine/memory.max", "8589934592\n");
  root.write("sys/fs/cgroup/machine/cpu.max", "max 100000\n");
  root.write("sys/fs/cgroup/machine/job/memory.max", "1073741824\n");
  root.write("sys/fs/cgroup/machine/job/cpu.max", "250000 100000\n");
  root.write("sys/fs/cgroup/machine/job/step/memory.max", "max\n");
  const ControlGroupLimits limits = control_group_limits(root.path());
  EXPECT_EQ(limits.memory_bytes, int64_t{1} << 30);
  EXPECT_EQ(limits.cpus, 2.5);
}

TEST(ControlGroup, AContainerSeesItsGroupAtTheTop) {
  const TemporaryDirectory root;
  root.write("proc/self/cgroup", "0::/../outside/path\n");
  root.write("sys/fs/cgroup/memory.max", "4096\n");
  EXPECT_EQ(control_group_limits(root.path()).memory_bytes, 4096);
}

TEST(ControlGroup, VersionOneHasAFolderAController) {
  const TemporaryDirectory root;
  root.write("proc/self/cgroup", "5:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/x\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "536870912\n");
  root.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n");
  root.write("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  const ControlGroupLimits limits = control_group_limits(root.path());
  EXPECT_EQ(limits.memory_bytes, 536870912);
  EXPECT_EQ(limits.cpus, 0.5);
}

TEST(ControlGroup, WhatSaysNothingIsNoLimit) {
  const TemporaryDirectory root;
  EXPECT_FALSE(control_group_limits(root.path()).memory_bytes.has_value());
  root.write("proc/self/cgroup", "0::/a\nnonsense\n:\n3:cpu:/a\n");
  root.write("sys/fs/cgroup/a/memory.max", "lots\n");
  root.write("sys/fs/cgroup/a/cpu.max", "100000 0\n");
  root.write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n");
  root.write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
  const ControlGroupLimits limits = control_group_limits(root.path());
  EXPECT_FALSE(limits.memory_bytes.has_value());
  EXPECT_FALSE(limits.cpus.has_value());
}

}  // namespace
}  // namespace precis

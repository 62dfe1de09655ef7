// The folder a run writes to: its lock, its checkpoints by step, the links `latest` and `best`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file_system.h"

namespace precis::train {

// "step-00000100"
std::string checkpoint_name(int64_t step);

// Holds the lock of a folder against other processes: flock on `.lock`, which the kernel gives back when a
// process dies however it dies, so a stale lock file locks nobody out.
class FolderLock {
 public:
  // Throws Error{kIo} naming the process that holds it.
  explicit FolderLock(const std::filesystem::path& folder);
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock();

 private:
  int descriptor_;
};

struct CheckpointEntry {
  int64_t step = 0;
  std::filesystem::path path;
};

// Directories named as checkpoints, valid or not, newest step first.
std::vector<CheckpointEntry> list_checkpoints(const std::filesystem::path& folder);

// The first line of config.yaml, by which a run knows its own.
inline constexpr const char* kConfigHeader =
    "# The configuration of the run in this folder, every default with it.\n";

// Removes what a killed run has left and proves that the folder can be written. Error{kIo}, also where
// something else has a name that a run would write to. Hold the lock.
void prepare_folder(FileSystem& files, const std::filesystem::path& folder);

// Error{kIo} where the folder's disk has fewer free bytes than `needed`.
void check_free_space(const std::filesystem::path& folder, int64_t needed);

}  // namespace precis::train

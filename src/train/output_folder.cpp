// Lock and listing of a run's folder.
#include "train/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "io/atomic_directory.h"

namespace precis::train {

namespace fs = std::filesystem;

namespace {

constexpr const char* kLockName = ".lock";
constexpr std::string_view kPrefix = "step-";

[[noreturn]] void system_failure(const fs::path& path, const std::string& what) {
  const std::string reason = std::strerror(errno);
  throw Error(ErrorKind::kIo, {.what = what + ": " + reason, .where = path.string()});
}

std::string holder(int descriptor) {
  char text[64] = {};
  const ssize_t size = pread(descriptor, text, sizeof text - 1, 0);
  return size > 0 ? std::string(text, text + size) : "unknown";
}

}  // namespace

std::string checkpoint_name(int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "step-%08lld", static_cast<long long>(step));
  return text;
}

FolderLock::FolderLock(const fs::path& folder) {
  const fs::path path = folder / kLockName;
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) system_failure(path, "can't open the lock");
  if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0) {
    const std::string process = std::to_string(getpid());
    // For the message of a second process alone: the lock itself is the kernel's.
    if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, process.data(), process.size(), 0) < 0) {
      close(descriptor_);
      system_failure(path, "can't write the lock");
    }
    return;
  }
  const int reason = errno;
  const std::string process = holder(descriptor_);
  close(descriptor_);
  errno = reason;
  if (reason != EWOULDBLOCK) system_failure(path, "can't lock the output folder");
  throw Error(ErrorKind::kIo, {.what = "another process trains into this folder",
                               .where = folder.string(),
                               .found = "process " + process,
                               .hint = "wait for it, or choose another output"});
}

FolderLock::~FolderLock() { close(descriptor_); }

std::vector<CheckpointEntry> list_checkpoints(const fs::path& folder) {
  std::vector<CheckpointEntry> checkpoints;
  std::error_code problem;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, problem)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix) || !entry.is_directory()) continue;
    const char* const begin = name.data() + kPrefix.size();
    const char* const end = name.data() + name.size();
    int64_t step = 0;
    const auto [stop, result] = std::from_chars(begin, end, step);
    if (result != std::errc() || stop != end || step < 0) continue;
    checkpoints.push_back({step, entry.path()});
  }
  if (problem) {
    throw Error(ErrorKind::kIo,
                {.what = "can't list the folder: " + problem.message(), .where = folder.string()});
  }
  std::sort(checkpoints.begin(), checkpoints.end(),
            [](const CheckpointEntry& a, const CheckpointEntry& b) { return a.step > b.step; });
  return checkpoints;
}

// A run points these names to its checkpoints, in place of what was there: told before the first step.
void refuse_foreign_links(const fs::path& folder) {
  for (const char* name : {"latest", "best"}) {
    std::error_code ignored;
    const fs::file_status status = fs::symlink_status(folder / name, ignored);
    if (!fs::exists(status) || fs::is_symlink(status)) continue;
    throw Error(ErrorKind::kIo, {.what = "a run keeps a link of this name, and here is something else",
                                 .where = (folder / name).string(),
                                 .hint = "move it away, or choose another output"});
  }
}

void prepare_folder(FileSystem& files, const fs::path& folder) {
  refuse_foreign_links(folder);
  remove_stages(files, folder, [](const std::string& name) {
    return name.starts_with(kPrefix) || name == "latest" || name == "best" || name == "config.yaml" ||
           name == "probe";
  });
  const fs::path probe = temporary_beside(folder / "probe");
  const std::unique_ptr<OutputFile> file = files.create(probe);
  file->write("precis");
  file->sync();
  file->close();
  files.remove(probe);
}

void check_free_space(const fs::path& folder, int64_t needed) {
  std::error_code problem;
  const fs::space_info space = fs::space(folder, problem);
  if (problem || static_cast<int64_t>(space.available) >= needed) return;
  throw Error(ErrorKind::kIo, {.what = "too little room for checkpoints",
                               .where = folder.string(),
                               .expected = std::to_string(needed) + " free bytes",
                               .found = std::to_string(space.available),
                               .hint = "free some, or choose another output"});
}

}  // namespace precis::train

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
#include <fstream>
#include <optional>
#include <string_view>

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

[[noreturn]] void refuse_foreign(const fs::path& path, const std::string& what) {
  throw Error(ErrorKind::kIo, {.what = what + ", and here is something else",
                               .where = path.string(),
                               .hint = "move it away, or choose another output"});
}

// The beginning of it.
std::string content(int descriptor) {
  char text[64] = {};
  const ssize_t size = pread(descriptor, text, sizeof text, 0);
  return size > 0 ? std::string(text, text + size) : "";
}

// Whether a regular file begins so; an empty one does. Others are told when they are opened.
bool begins_with(const fs::path& path, std::string_view beginning) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored) || fs::file_size(path, ignored) == 0) return true;
  std::ifstream file(path, std::ios::binary);
  std::string found(beginning.size(), '\0');
  return file.read(found.data(), static_cast<std::streamsize>(found.size())) && found == beginning;
}

// The step of a checkpoint's name.
std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* const end = name.data() + name.size();
  int64_t step = 0;
  const auto [stop, result] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (result != std::errc() || stop != end || step < 0) return std::nullopt;
  return step;
}

// What a run replaces or writes on is a run's: told before the first step.
void refuse_foreign_entries(const fs::path& folder) {
  for (const char* name : {"latest", "best"}) {
    std::error_code ignored;
    const fs::file_status status = fs::symlink_status(folder / name, ignored);
    if (fs::exists(status) && !fs::is_symlink(status)) {
      refuse_foreign(folder / name, "a run keeps a link of this name");
    }
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    std::error_code ignored;
    if (step_of(entry.path().filename().string()) && !entry.is_directory(ignored)) {
      refuse_foreign(entry.path(), "a run keeps a checkpoint under this name");
    }
  }
  if (!begins_with(folder / "metrics.jsonl", "{\"event\":")) {
    refuse_foreign(folder / "metrics.jsonl", "a run keeps its log under this name");
  }
  // A run of an earlier version wrote no such line.
  std::error_code ignored;
  if (!begins_with(folder / "config.yaml", kConfigHeader) && !fs::exists(folder / "metrics.jsonl", ignored)) {
    refuse_foreign(folder / "config.yaml", "a run keeps its configuration under this name");
  }
}

}  // namespace

std::string checkpoint_name(int64_t step) {
  char text[32];
  std::snprintf(text, sizeof text, "step-%08lld", static_cast<long long>(step));
  return text;
}

FolderLock::FolderLock(const fs::path& folder) {
  const fs::path path = folder / kLockName;
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor_ < 0) system_failure(path, "can't open the lock");
  if (flock(descriptor_, LOCK_EX | LOCK_NB) == 0) {
    const std::string earlier = content(descriptor_);
    if (earlier.find_first_not_of("0123456789") != std::string::npos) {
      close(descriptor_);
      refuse_foreign(path, "a run keeps its lock under this name");
    }
    const std::string process = std::to_string(getpid());
    // For the message of a second process alone: the lock itself is the kernel's.
    if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, process.data(), process.size(), 0) < 0) {
      close(descriptor_);
      system_failure(path, "can't write the lock");
    }
    return;
  }
  const int reason = errno;
  const std::string process = content(descriptor_);
  close(descriptor_);
  errno = reason;
  if (reason != EWOULDBLOCK) system_failure(path, "can't lock the output folder");
  throw Error(ErrorKind::kIo, {.what = "another process trains into this folder",
                               .where = folder.string(),
                               .found = "process " + (process.empty() ? "unknown" : process),
                               .hint = "wait for it, or choose another output"});
}

FolderLock::~FolderLock() { close(descriptor_); }

std::vector<CheckpointEntry> list_checkpoints(const fs::path& folder) {
  std::vector<CheckpointEntry> checkpoints;
  std::error_code problem;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, problem)) {
    const std::string name = entry.path().filename().string();
    const std::optional<int64_t> step = step_of(name);
    std::error_code ignored;  // a loop of links is no directory
    if (step && entry.is_directory(ignored)) checkpoints.push_back({*step, entry.path()});
  }
  if (problem) {
    throw Error(ErrorKind::kIo,
                {.what = "can't list the folder: " + problem.message(), .where = folder.string()});
  }
  std::sort(checkpoints.begin(), checkpoints.end(),
            [](const CheckpointEntry& a, const CheckpointEntry& b) { return a.step > b.step; });
  return checkpoints;
}

void prepare_folder(FileSystem& files, const fs::path& folder) {
  refuse_foreign_entries(folder);
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

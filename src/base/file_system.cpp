// The POSIX file system, and the operations that are built on any file system.
#include "base/file_system.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace precis {

namespace {

using Path = std::filesystem::path;

[[noreturn]] void failed(const std::string& action, const Path& path, int code) {
  throw Error(ErrorKind::kIo,
              {.what = "can't " + action + ": " + std::strerror(code), .where = path.string()});
}

class PosixFile : public OutputFile {
 public:
  PosixFile(int number, Path path) : number_(number), path_(std::move(path)) {}
  ~PosixFile() override {
    if (number_ >= 0) ::close(number_);
  }

  void write(std::string_view bytes) override {
    // Linux moves at most 2^31 - 4096 bytes a call.
    constexpr size_t kMost = size_t{1} << 30;
    while (!bytes.empty()) {
      const ssize_t done = ::write(number_, bytes.data(), std::min(bytes.size(), kMost));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) failed_after("write", errno);
      written_ += done;
      bytes.remove_prefix(static_cast<size_t>(done));
    }
  }

  void sync() override {
    // A failed fsync may have dropped the pages: asking again would report success for lost bytes.
    if (fsync(number_) != 0) failed_after("sync", errno);
  }

  void close() override {
    const int number = std::exchange(number_, -1);
    if (number >= 0 && ::close(number) != 0 && errno != EINTR) failed_after("close", errno);
  }

 private:
  [[noreturn]] void failed_after(const std::string& action, int code) {
    throw Error(ErrorKind::kIo, {.what = "can't " + action + ": " + std::strerror(code),
                                 .where = path_.string(),
                                 .found = "the failure after " + std::to_string(written_) + " bytes"});
  }

  int number_;
  Path path_;
  int64_t written_ = 0;
};

class PosixFileSystem : public FileSystem {
 public:
  std::unique_ptr<OutputFile> create(const Path& path) override { return open_file(path, O_EXCL, "create"); }
  std::unique_ptr<OutputFile> append(const Path& path) override { return open_file(path, O_APPEND, "open"); }

  void rename(const Path& from, const Path& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) failed("rename " + from.string() + " to this", to, errno);
  }
  bool exchange(const Path& first, const Path& second) override {
    if (renameat2(AT_FDCWD, first.c_str(), AT_FDCWD, second.c_str(), RENAME_EXCHANGE) == 0) return true;
    if (errno == EINVAL || errno == ENOSYS || errno == ENOTSUP) return false;
    failed("exchange " + first.string() + " and this", second, errno);
  }
  void remove(const Path& path) override {
    if (::remove(path.c_str()) != 0) failed("remove", path, errno);
  }
  void make_directory(const Path& path) override {
    if (mkdir(path.c_str(), 0777) != 0) failed("make the directory", path, errno);
  }
  void make_link(const Path& target, const Path& path) override {
    if (symlink(target.c_str(), path.c_str()) != 0) failed("make the link", path, errno);
  }
  void sync_directory(const Path& path) override {
    const int number = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (number < 0) failed("open the directory", path, errno);
    const int result = fsync(number);
    const int code = errno;
    ::close(number);
    // Some network file systems know no sync of directories, and need none.
    if (result != 0 && code != EINVAL && code != ENOTSUP) failed("sync the directory", path, code);
  }

 private:
  static std::unique_ptr<OutputFile> open_file(const Path& path, int flags, const std::string& action) {
    // A pipe without a reader would be waited for.
    const int number = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | flags, 0666);
    if (number < 0) failed(action, path, errno);
    auto file = std::make_unique<PosixFile>(number, path);
    struct stat status = {};
    if (fstat(number, &status) != 0) failed(action, path, errno);
    if (!S_ISREG(status.st_mode)) {
      throw Error(ErrorKind::kIo,
                  {.what = "can't " + action + ": not a regular file", .where = path.string()});
    }
    return file;
  }
};

// Runs `work`; where it throws, clears the temporary path away and lets the first error through.
template <typename Work>
void with_cleaning(FileSystem& files, const Path& temporary, const Work& work) {
  try {
    work();
  } catch (...) {
    try {
      remove_tree(files, temporary);
    } catch (const Error&) {  // the first error is the one to tell
    }
    throw;
  }
}

}  // namespace

FileSystem& posix_file_system() {
  static PosixFileSystem instance;
  return instance;
}

Path parent_directory(const Path& path) {
  Path plain = path;
  if (!plain.has_filename()) plain = plain.parent_path();  // "folder/"
  return plain.has_parent_path() ? plain.parent_path() : Path(".");
}

void make_directories(FileSystem& files, const Path& path) {
  std::error_code ignored;
  if (path.empty() || std::filesystem::is_directory(path, ignored)) return;
  const Path parent = parent_directory(path);
  if (parent != path) make_directories(files, parent);
  try {
    files.make_directory(path.has_filename() ? path : path.parent_path());
  } catch (const Error&) {
    // Another process may have made it in between.
    if (!std::filesystem::is_directory(path, ignored)) throw;
  }
}

void remove_tree(FileSystem& files, const Path& path) {
  std::error_code problem;
  const auto status = std::filesystem::symlink_status(path, problem);
  if (status.type() == std::filesystem::file_type::not_found) return;
  if (status.type() == std::filesystem::file_type::directory) {
    std::filesystem::directory_iterator entries(path, problem);
    if (problem) failed("read the directory", path, problem.value());
    for (const auto& entry : entries) remove_tree(files, entry.path());
  }
  files.remove(path);
}

Path temporary_beside(const Path& path) {
  // Random, because process numbers repeat: in another container, on another machine of a shared disk.
  static std::atomic<uint64_t> next{uint64_t{std::random_device()()} << 32 | std::random_device()()};
  const Path plain = path.has_filename() ? path : path.parent_path();
  constexpr size_t kShown = 100;  // a file's name has 255 bytes at most
  char suffix[20];
  std::snprintf(suffix, sizeof suffix, "-%016llx", static_cast<unsigned long long>(next.fetch_add(1)));
  return parent_directory(plain) / (".tmp-" + plain.filename().string().substr(0, kShown) + suffix);
}

std::string name_of_temporary(const std::string& file_name) {
  constexpr size_t kPrefix = 5, kSuffix = 17;  // ".tmp-", "-" and 16 digits
  if (!file_name.starts_with(".tmp-") || file_name.size() <= kPrefix + kSuffix) return "";
  const std::string suffix = file_name.substr(file_name.size() - kSuffix);
  if (suffix[0] != '-' || suffix.find_first_not_of("0123456789abcdef", 1) != std::string::npos) return "";
  return file_name.substr(kPrefix, file_name.size() - kPrefix - kSuffix);
}

namespace {

// A device or a pipe must not be renamed over, and a directory can't be: told before the long work.
Path checked_target(Path path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    throw Error(ErrorKind::kIo,
                {.what = "can't write here",
                 .where = path.string(),
                 .expected = "a regular file or a new name",
                 .found = std::filesystem::is_directory(status) ? "a directory" : "no regular file"});
  }
  return path;
}

}  // namespace

FileReplacement::FileReplacement(FileSystem& files, Path path)
    : files_(files),
      path_(checked_target(std::move(path))),
      temporary_(temporary_beside(path_)),
      file_(files_.create(temporary_)) {}

FileReplacement::~FileReplacement() {
  if (renamed_) return;
  file_.reset();
  try {
    remove_tree(files_, temporary_);
  } catch (const Error&) {  // the error that led here is the one to tell
  }
}

void FileReplacement::commit() {
  file_->sync();
  file_->close();
  files_.rename(temporary_, path_);
  renamed_ = true;
  files_.sync_directory(parent_directory(path_));
}

void replace_file(FileSystem& files, const Path& path, std::string_view bytes) {
  FileReplacement file(files, path);
  file.write(bytes);
  file.commit();
}

void replace_link(FileSystem& files, const Path& target, const Path& path) {
  const Path temporary = temporary_beside(path);
  with_cleaning(files, temporary, [&] {
    files.make_link(target, temporary);
    files.rename(temporary, path);
  });
  files.sync_directory(parent_directory(path));
}

}  // namespace precis

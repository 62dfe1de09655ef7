// The seam through which every durable file is written, so that tests can put a file system that fails, or
// that forgets what was not synced, in place of the kernel's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

namespace precis {

// A file open for writing. Every failure is Error{kIo} naming the file and the bytes written so far.
// The destructor closes without saying whether the bytes arrived: call sync() and close() first.
class OutputFile {
 public:
  virtual ~OutputFile() = default;
  // All of the bytes, or an error.
  virtual void write(std::string_view bytes) = 0;
  // The bytes written so far are on the disk when this returns.
  virtual void sync() = 0;
  virtual void close() = 0;
};

// Every failure is Error{kIo} naming the path.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // A new file of mode 0666 & ~umask. An existing path is an error: another process may have it mapped.
  virtual std::unique_ptr<OutputFile> create(const std::filesystem::path& path) = 0;
  // Opens at the end, creating where missing: for logs. A pipe or a device at the path is an error.
  virtual std::unique_ptr<OutputFile> append(const std::filesystem::path& path) = 0;
  // Replaces a file or a link at `to`; a directory at `to` must be empty.
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  // Two existing paths of one file system change places in one step; false, and nothing done, where the file
  // system can't do that.
  virtual bool exchange(const std::filesystem::path& first, const std::filesystem::path& second) = 0;
  // A file, a link, or an empty directory.
  virtual void remove(const std::filesystem::path& path) = 0;
  // One level; an existing path is an error. Mode 0777 & ~umask.
  virtual void make_directory(const std::filesystem::path& path) = 0;
  // A new symbolic link `path` that points to `target`.
  virtual void make_link(const std::filesystem::path& target, const std::filesystem::path& path) = 0;
  // The entries made, renamed and removed in `path` are on the disk when this returns.
  virtual void sync_directory(const std::filesystem::path& path) = 0;
};

// The kernel's. Holds no state; may be used from any thread.
FileSystem& posix_file_system();

// The folder that holds `path`, "." for a bare name.
std::filesystem::path parent_directory(const std::filesystem::path& path);

// Makes `path` and the missing folders above it.
void make_directories(FileSystem& files, const std::filesystem::path& path);
// Removes a file, a link (not what it points to) or a directory with all it holds. Missing is fine.
void remove_tree(FileSystem& files, const std::filesystem::path& path);

// A name beside `path` that no other process or thread uses: "<folder>/.tmp-<name>-<random>".
std::filesystem::path temporary_beside(const std::filesystem::path& path);
// The <name> of such a file name; empty for any other. A long name was cut.
std::string name_of_temporary(const std::string& file_name);

// A file that is written beside `path` and takes its place at commit(): readers see the old bytes or the new,
// never a part. Without a commit nothing of it is left.
class FileReplacement {
 public:
  FileReplacement(FileSystem& files, std::filesystem::path path);
  FileReplacement(const FileReplacement&) = delete;
  FileReplacement& operator=(const FileReplacement&) = delete;
  ~FileReplacement();

  void write(std::string_view bytes) { file_->write(bytes); }
  // Syncs, closes, renames over `path` and syncs its folder.
  void commit();

 private:
  FileSystem& files_;
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::unique_ptr<OutputFile> file_;
  bool renamed_ = false;
};

// A FileReplacement of bytes that are at hand.
void replace_file(FileSystem& files, const std::filesystem::path& path, std::string_view bytes);
// Points the link `path` to `target`, replacing the link that was there in one step.
void replace_link(FileSystem& files, const std::filesystem::path& target, const std::filesystem::path& path);

}  // namespace precis

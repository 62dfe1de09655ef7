// File systems that go wrong: FailNth at a chosen operation, LoseUnsynced at a crash.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_system.h"

namespace precis {

// Passes on to the real one, but the n-th operation that could fill the disk or fail to reach it (create,
// write, sync, close, rename, make, link, directory sync), counted from 1, fails; a failing write leaves half
// its bytes. Every operation after it works again, as on a disk where space was made. n = 0 never fails and
// counts.
class FailNth : public FileSystem {
 public:
  explicit FailNth(int n) : n_(n) {}
  int operations() const { return count_; }
  bool has_failed() const { return count_ >= n_ && n_ > 0; }

  std::unique_ptr<OutputFile> create(const std::filesystem::path& path) override {
    step("create", path);
    return std::make_unique<File>(*this, real_.create(path), path);
  }
  std::unique_ptr<OutputFile> append(const std::filesystem::path& path) override {
    step("open", path);
    return std::make_unique<File>(*this, real_.append(path), path);
  }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    step("rename", to);
    real_.rename(from, to);
  }
  bool exchange(const std::filesystem::path& first, const std::filesystem::path& second) override {
    step("exchange", second);
    return real_.exchange(first, second);
  }
  void remove(const std::filesystem::path& path) override { real_.remove(path); }
  void make_directory(const std::filesystem::path& path) override {
    step("make the directory", path);
    real_.make_directory(path);
  }
  void make_link(const std::filesystem::path& target, const std::filesystem::path& path) override {
    step("make the link", path);
    real_.make_link(target, path);
  }
  void sync_directory(const std::filesystem::path& path) override {
    step("sync the directory", path);
    real_.sync_directory(path);
  }

 private:
  class File : public OutputFile {
   public:
    File(FailNth& owner, std::unique_ptr<OutputFile> real, std::filesystem::path path)
        : owner_(owner), real_(std::move(real)), path_(std::move(path)) {}
    void write(std::string_view bytes) override {
      if (++owner_.count_ == owner_.n_) {
        real_->write(bytes.substr(0, bytes.size() / 2));
        owner_.fail("write", path_);
      }
      real_->write(bytes);
    }
    void sync() override {
      owner_.step("sync", path_);
      real_->sync();
    }
    void close() override {
      owner_.step("close", path_);
      real_->close();
    }

   private:
    FailNth& owner_;
    std::unique_ptr<OutputFile> real_;
    std::filesystem::path path_;
  };

  void step(const std::string& action, const std::filesystem::path& path) {
    if (++count_ == n_) fail(action, path);
  }
  [[noreturn]] void fail(const std::string& action, const std::filesystem::path& path) {
    throw Error(ErrorKind::kIo,
                {.what = "can't " + action + ": no space (injected)", .where = path.string()});
  }

  FileSystem& real_ = posix_file_system();
  int n_;
  int count_ = 0;
};

// Works until crash(), which takes back whatever was not synced: a file's bytes without sync(), and an entry
// of a folder (made, renamed, linked) without sync_directory() of that folder. The harshest disk that POSIX
// allows.
class LoseUnsynced : public FileSystem {
 public:
  std::unique_ptr<OutputFile> create(const std::filesystem::path& path) override {
    auto file = std::make_unique<File>(*this, real_.create(path), path);
    unsynced_bytes_[path] = 0;
    undo_.push_back({parent_directory(path), [path] { std::filesystem::remove(path); }});
    return file;
  }
  std::unique_ptr<OutputFile> append(const std::filesystem::path& path) override {
    return real_.append(path);
  }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    std::optional<std::filesystem::path> old_link;
    std::optional<std::string> old_bytes;
    if (std::filesystem::is_symlink(to)) {
      old_link = std::filesystem::read_symlink(to);
    } else if (std::filesystem::is_regular_file(to)) {
      std::ifstream file(to, std::ios::binary);
      old_bytes = std::string(std::istreambuf_iterator<char>(file), {});
    }
    real_.rename(from, to);
    std::map<std::filesystem::path, size_t> moved;
    for (const auto& [path, synced] : unsynced_bytes_) {
      const auto relative = path.lexically_relative(from);
      const bool inside = !relative.empty() && *relative.begin() != "..";
      moved[inside ? (to / relative).lexically_normal() : path] = synced;
    }
    if (unsynced_bytes_.count(from) != 0) moved[to] = unsynced_bytes_[from], moved.erase(from);
    unsynced_bytes_ = std::move(moved);
    undo_.push_back({parent_directory(to), [=] {
                       std::filesystem::rename(to, from);
                       if (old_link) std::filesystem::create_symlink(*old_link, to);
                       if (old_bytes) std::ofstream(to, std::ios::binary) << *old_bytes;
                     }});
  }
  bool exchange(const std::filesystem::path& first, const std::filesystem::path& second) override {
    if (!real_.exchange(first, second)) return false;
    undo_.push_back({parent_directory(second), [this, first, second] { real_.exchange(first, second); }});
    return true;
  }
  void remove(const std::filesystem::path& path) override { real_.remove(path); }
  void make_directory(const std::filesystem::path& path) override {
    real_.make_directory(path);
    undo_.push_back({parent_directory(path), [path] { std::filesystem::remove_all(path); }});
  }
  void make_link(const std::filesystem::path& target, const std::filesystem::path& path) override {
    real_.make_link(target, path);
    undo_.push_back({parent_directory(path), [path] { std::filesystem::remove(path); }});
  }
  void sync_directory(const std::filesystem::path& path) override {
    real_.sync_directory(path);
    std::erase_if(undo_, [&](const Undo& undo) { return undo.folder == path; });
  }

  void crash() {
    for (const auto& [path, synced] : unsynced_bytes_) {
      if (std::filesystem::exists(path)) std::filesystem::resize_file(path, synced);
    }
    for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) undo->run();
    unsynced_bytes_.clear();
    undo_.clear();
  }

 private:
  struct Undo {
    std::filesystem::path folder;
    std::function<void()> run;
  };
  class File : public OutputFile {
   public:
    File(LoseUnsynced& owner, std::unique_ptr<OutputFile> real, std::filesystem::path path)
        : owner_(owner), real_(std::move(real)), path_(std::move(path)) {}
    void write(std::string_view bytes) override {
      real_->write(bytes);
      written_ += bytes.size();
    }
    void sync() override {
      real_->sync();
      owner_.unsynced_bytes_[path_] = written_;
    }
    void close() override { real_->close(); }

   private:
    LoseUnsynced& owner_;
    std::unique_ptr<OutputFile> real_;
    std::filesystem::path path_;
    size_t written_ = 0;
  };

  FileSystem& real_ = posix_file_system();
  std::map<std::filesystem::path, size_t> unsynced_bytes_;  // file -> bytes that are safe
  std::vector<Undo> undo_;
};

}  // namespace precis

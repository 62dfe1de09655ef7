// Stage, manifest, rename; and the check of the result.
#include "io/atomic_directory.h"

#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/read_file.h"

namespace precis {

using Path = std::filesystem::path;

namespace {

constexpr std::string_view kReplacedPrefix = ".precis-old-";

struct Written {
  FileDigest digest;
  bool synced = false;
  bool closed = false;
};

class DigestedFile : public OutputFile {
 public:
  DigestedFile(std::unique_ptr<OutputFile> real, std::shared_ptr<Written> written)
      : real_(std::move(real)), written_(std::move(written)) {}

  void write(std::string_view bytes) override {
    real_->write(bytes);
    digest_.update(bytes);
    written_->digest.size += static_cast<int64_t>(bytes.size());
    written_->synced = false;
  }
  void sync() override {
    real_->sync();
    written_->synced = true;
  }
  void close() override {
    real_->close();
    written_->digest.sha256 = digest_.hex();
    written_->closed = true;
  }

 private:
  std::unique_ptr<OutputFile> real_;
  std::shared_ptr<Written> written_;
  Sha256 digest_;
};

[[noreturn]] void damaged(const Path& path, std::string what, std::string expected = "",
                          std::string found = "") {
  throw Error(ErrorKind::kModel, {.what = std::move(what),
                                  .where = path.string(),
                                  .expected = std::move(expected),
                                  .found = std::move(found)});
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

}  // namespace

class AtomicDirectory::Recorder : public FileSystem {
 public:
  explicit Recorder(FileSystem& real, const Path& stage) : real_(real), stage_(stage) {}

  const std::map<std::string, std::shared_ptr<Written>>& files() const { return files_; }

  std::unique_ptr<OutputFile> create(const Path& path) override {
    auto written = std::make_shared<Written>();
    auto file = std::make_unique<DigestedFile>(real_.create(path), written);
    if (parent_directory(path) != stage_) {
      throw Error(ErrorKind::kInternal, {.what = "a file outside the stage", .where = path.string()});
    }
    files_[path.filename().string()] = std::move(written);
    return file;
  }
  // A file's digest is taken as it is written: files come once, whole, and under their last name.
  std::unique_ptr<OutputFile> append(const Path& path) override { unsupported(path); }
  void rename(const Path&, const Path& to) override { unsupported(to); }
  bool exchange(const Path& first, const Path&) override { unsupported(first); }
  void remove(const Path& path) override { unsupported(path); }
  void make_directory(const Path& path) override { unsupported(path); }
  void make_link(const Path&, const Path& path) override { unsupported(path); }
  void sync_directory(const Path& path) override { real_.sync_directory(path); }

 private:
  [[noreturn]] static void unsupported(const Path& path) {
    throw Error(ErrorKind::kInternal,
                {.what = "a staged directory takes new files only", .where = path.string()});
  }

  FileSystem& real_;
  const Path& stage_;
  std::map<std::string, std::shared_ptr<Written>> files_;
};

AtomicDirectory::AtomicDirectory(FileSystem& files, Path target)
    : real_(files),
      target_(target.has_filename() ? std::move(target) : target.parent_path()),
      stage_(temporary_beside(target_)),
      recorder_(std::make_unique<Recorder>(real_, stage_)) {
  real_.make_directory(stage_);
}

AtomicDirectory::~AtomicDirectory() {
  if (committed_) return;
  try {
    remove_tree(real_, stage_);
  } catch (const std::exception&) {  // a leftover is harmless, and found by its name
  }
}

FileSystem& AtomicDirectory::files() { return *recorder_; }

void AtomicDirectory::write(const std::string& name, std::string_view bytes) {
  const std::unique_ptr<OutputFile> file = recorder_->create(stage_ / name);
  file->write(bytes);
  file->sync();
  file->close();
}

void AtomicDirectory::commit(const Json& extra, bool replace) {
  Json manifest = {{"format_version", kManifestVersion}};
  for (const auto& [key, value] : extra.items()) manifest[key] = value;
  Json files = Json::object();
  for (const auto& [name, written] : recorder_->files()) {
    if (!written->synced || !written->closed) {
      throw Error(ErrorKind::kInternal, {.what = "a staged file that was not synced and closed",
                                         .where = (stage_ / name).string()});
    }
    files[name] = {{"size", written->digest.size}, {"sha256", written->digest.sha256}};
  }
  manifest["files"] = std::move(files);
  write(kManifestName, pretty_json(manifest));
  real_.sync_directory(stage_);
  verify_directory(stage_);  // while what it replaces still stands

  std::error_code ignored;
  const bool exists = std::filesystem::exists(std::filesystem::symlink_status(target_, ignored));
  if (exists && !replace) {
    throw Error(ErrorKind::kIo, {.what = "already exists", .where = target_.string()});
  }
  if (!exists) {
    real_.rename(stage_, target_);
  } else if (!real_.exchange(stage_, target_)) {
    replace_in_two_steps();
  }
  committed_ = true;
  real_.sync_directory(parent_directory(target_));
  if (exists) remove_tree(real_, stage_);
}

// For a moment there is neither under the target's name: what goes wrong then is put right here, or by
// remove_stages() where the machine stopped.
void AtomicDirectory::replace_in_two_steps() {
  const Path old = parent_directory(target_) / (std::string(kReplacedPrefix) + target_.filename().string());
  remove_tree(real_, old);
  real_.rename(target_, old);
  try {
    real_.rename(stage_, target_);
  } catch (const Error&) {
    real_.rename(old, target_);
    throw;
  }
  stage_ = old;
}

Json read_manifest(const Path& directory) {
  const Path path = directory / kManifestName;
  Json manifest = read_json_file(path, ErrorKind::kModel);
  const auto member = [&](const Json& object, const char* key) -> const Json& {
    static const Json kNothing;
    const auto found = object.is_object() ? object.find(key) : object.end();
    return found == object.end() ? kNothing : *found;
  };
  const Json& version = member(manifest, "format_version");
  if (version != kManifestVersion) {
    damaged(path, "unknown manifest version", std::to_string(kManifestVersion),
            version.dump().substr(0, 100));
  }
  const Json& files = member(manifest, "files");
  if (!files.is_object()) damaged(path, "no object 'files' in the manifest");
  for (const auto& [name, entry] : files.items()) {
    if (!is_plain_name(name))
      damaged(path, "a manifest entry that is not a plain file name", "", Json(name).dump());
    if (!member(entry, "size").is_number_unsigned() || !member(entry, "sha256").is_string()) {
      damaged(path, "bad manifest entry for '" + name + '\'', "a size and a sha256");
    }
  }
  return manifest;
}

Json verify_directory(const Path& directory) {
  Json manifest = read_manifest(directory);
  for (const auto& [name, entry] : manifest["files"].items()) {
    const Path path = directory / name;
    const FileDigest found = digest_of_file(path, ErrorKind::kModel);
    const uint64_t size = entry["size"].get<uint64_t>();
    if (static_cast<uint64_t>(found.size) != size) {
      damaged(path, "file differs from its manifest", std::to_string(size) + " bytes",
              std::to_string(found.size));
    }
    const std::string expected = entry["sha256"].get<std::string>();
    if (found.sha256 != expected) {
      damaged(path, "file differs from its manifest", "SHA-256 " + expected, found.sha256);
    }
  }
  return manifest;
}

int remove_stages(FileSystem& files, const Path& folder,
                  const std::function<bool(const std::string& name)>& ours) {
  std::vector<Path> stages, replaced;
  std::error_code problem;
  for (std::filesystem::directory_iterator entries(folder, problem), end; !problem && entries != end;
       entries.increment(problem)) {
    const std::string name = entries->path().filename().string();
    const std::string staged = name_of_temporary(name);
    if (!staged.empty() && ours(staged)) stages.push_back(entries->path());
    if (name.starts_with(kReplacedPrefix) && ours(name.substr(kReplacedPrefix.size()))) {
      replaced.push_back(entries->path());
    }
  }
  for (const Path& path : replaced) {
    const Path target = folder / path.filename().string().substr(kReplacedPrefix.size());
    if (std::filesystem::exists(std::filesystem::symlink_status(target, problem))) {
      remove_tree(files, path);
    } else {
      files.rename(path, target);
    }
  }
  for (const Path& path : stages) remove_tree(files, path);
  return static_cast<int>(stages.size() + replaced.size());
}

}  // namespace precis

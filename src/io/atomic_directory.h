// Committed directories: what a checkpoint or a saved model is. All of its files, each with its digest in
// manifest.json, are on the disk before the directory has its name; whoever finds the name finds all of it.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/file_system.h"
#include "io/digest.h"
#include "io/json.h"

namespace precis {

inline constexpr const char* kManifestName = "manifest.json";
inline constexpr int kManifestVersion = 1;

// Stages files in ".tmp-<name>-..." beside `target`; commit() gives them their name. Without a commit the
// destructor clears the stage away; what a killed process leaves is for remove_stages().
class AtomicDirectory {
 public:
  // Makes the stage. Error{kIo}.
  AtomicDirectory(FileSystem& files, std::filesystem::path target);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  // Where files are created, through files(): directly in the stage, not in folders below.
  const std::filesystem::path& stage() const { return stage_; }
  // Takes size and digest of every file created through it while it is written.
  FileSystem& files();
  // One small file: created, synced, closed.
  void write(const std::string& name, std::string_view bytes);

  // Writes manifest.json: {"format_version", then the members of `extra` ("step", ...), "files": {name:
  // {"size", "sha256"}}}; syncs; reads every file back (a difference is Error{kModel}); renames; syncs the
  // parent. Every file must have been synced and closed (else Error{kInternal}). An existing target is
  // Error{kIo} unless `replace`: then the old directory is exchanged for the new in one step, where the file
  // system can, and removed.
  void commit(const Json& extra = Json::object(), bool replace = false);

 private:
  class Recorder;

  void replace_in_two_steps();

  FileSystem& real_;
  std::filesystem::path target_;
  std::filesystem::path stage_;
  std::unique_ptr<Recorder> recorder_;
  bool committed_ = false;
};

// The manifest, its structure and file names checked, the files not. Error{kModel}.
Json read_manifest(const std::filesystem::path& directory);

// Reads every file that the manifest names; a missing, longer, shorter or changed one is Error{kModel} naming
// it. Returns the manifest. Files that the manifest does not name are ignored.
Json verify_directory(const std::filesystem::path& directory);

// Removes what writers that were killed have left in a folder, and returns how much there was: ".tmp-*", and
// ".precis-old-NAME", which takes its name again where the new NAME had not come yet. Only while no other
// process writes there: hold the folder's lock. `ours` says of a name whether a writer of that folder gives
// it; what stands beside, be it named alike, is another's.
int remove_stages(FileSystem& files, const std::filesystem::path& folder,
                  const std::function<bool(const std::string& name)>& ours);

}  // namespace precis

// The weights of a model directory, in one safetensors file or in the shards that an index names.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/safetensors.h"

namespace precis {

// One view over model.safetensors, else over the shards of model.safetensors.index.json.
class WeightFiles {
 public:
  // Shard names are checked before any is opened: only plain names of files that lie in the directory (or in
  // the blobs of a Hugging Face cache whose snapshot the directory is). Error{kModel}.
  static WeightFiles open(const std::filesystem::path& model_directory);
  // A single file.
  static WeightFiles open_file(const std::filesystem::path& path);

  struct Entry {
    const SafetensorsFile* file;
    const WeightInfo* info;
  };
  // Sorted by name.
  std::vector<Entry> entries() const;
  std::vector<std::string> names() const;
  const WeightInfo* find(std::string_view name) const;  // null where missing
  const std::string& path_of(std::string_view name) const;
  // As SafetensorsFile::read.
  void read(std::string_view name, void* destination, size_t size) const;
  void read_part(std::string_view name, int64_t offset, void* destination, size_t size) const;
  // The files' `__metadata__` together.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  explicit WeightFiles(std::vector<SafetensorsFile> files);
  const Entry& entry(std::string_view name) const;
  const std::string& where() const;

  std::vector<SafetensorsFile> files_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace precis

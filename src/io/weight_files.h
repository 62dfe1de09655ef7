// The weights of a model directory, in one file or in the shards that an index names, safetensors or of
// PyTorch.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/weight_file.h"

namespace precis {

// One view over the files.
class WeightFiles {
 public:
  // The first there is of model.safetensors, model.safetensors.index.json, pytorch_model.bin and
  // pytorch_model.bin.index.json, as transformers looks for them. Shard names are checked before any is
  // opened: only plain names of files that lie in the directory (or in the blobs of a Hugging Face cache
  // whose snapshot the directory is). Error{kModel}.
  static WeightFiles open(const std::filesystem::path& model_directory);
  // A single file: .bin, .pt and .pth are PyTorch's, any other is safetensors.
  static WeightFiles open_file(const std::filesystem::path& path);

  struct Entry {
    const WeightFile* file;
    const WeightInfo* info;
  };
  // Sorted by name.
  std::vector<Entry> entries() const;
  // The entries but for those whose bytes are an earlier one's: PyTorch's files hold tied weights once, under
  // all of their names.
  std::vector<Entry> distinct() const;
  std::vector<std::string> names() const;
  const WeightInfo* find(std::string_view name) const;  // null where missing
  const std::string& path_of(std::string_view name) const;
  // As WeightFile::read.
  void read(std::string_view name, void* destination, size_t size) const;
  void read_part(std::string_view name, int64_t offset, void* destination, size_t size) const;
  // The files' `__metadata__` together.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<WeightFile>& files() const { return files_; }
  const std::string& where() const;  // the first file, for messages

 private:
  explicit WeightFiles(std::vector<WeightFile> files);
  const Entry& entry(std::string_view name) const;

  std::vector<WeightFile> files_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace precis

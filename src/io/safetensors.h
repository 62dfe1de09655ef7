// safetensors files (https://github.com/huggingface/safetensors): read without trusting them, written as the
// reference implementation writes them. Knows nothing of tensors: names, types, shapes and bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file_system.h"
#include "io/descriptor.h"

namespace precis {

enum class WeightType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool };

// Bytes of one element.
int64_t element_size(WeightType type);
// As the format spells it: "F32", "BF16", "BOOL".
const char* name(WeightType type);

struct WeightInfo {
  std::string name;
  WeightType type = WeightType::kF32;
  std::vector<int64_t> shape;  // empty: a scalar
  int64_t begin = 0;           // offset in the file
  int64_t bytes = 0;
};

// An open file, its header checked in full: types known, shapes and byte ranges agree, the ranges cover the
// file without overlap or hole. Reads with pread, so that a file cut meanwhile is an error, not a signal.
// Reading from several threads is fine.
class SafetensorsFile {
 public:
  // Error{kModel} for whatever is wrong with the file.
  static SafetensorsFile open(const std::filesystem::path& path);

  const std::vector<WeightInfo>& weights() const { return weights_; }  // in the order of their bytes
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const WeightInfo* find(std::string_view name) const;  // null where missing
  const std::string& path() const { return file_.name(); }

  // All bytes of a weight; `size` must be its `bytes`. Error{kModel} for an unknown name, Error{kIo} where
  // the file can't be read or has changed since it was opened.
  void read(std::string_view name, void* destination, size_t size) const;
  // `size` bytes from byte `offset` of the weight.
  void read_part(const WeightInfo& weight, int64_t offset, void* destination, size_t size) const;

 private:
  explicit SafetensorsFile(Descriptor file) : file_(std::move(file)) {}

  Descriptor file_;
  std::vector<WeightInfo> weights_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

struct WeightBytes {
  std::string name;
  WeightType type = WeightType::kF32;
  std::vector<int64_t> shape;
  const void* bytes = nullptr;  // little-endian, contiguous; borrowed
};

// Writes a new file, synced and closed. Weights are ordered by type (widest first) and name, the header is
// padded with spaces to 8 bytes. Error{kInternal} where a name comes twice.
void write_safetensors(FileSystem& files, const std::filesystem::path& path, std::vector<WeightBytes> weights,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace precis

// A file of named weights, whatever its format: types, shapes, and where in the file the bytes are. Knows
// nothing of tensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/descriptor.h"

namespace precis {

enum class WeightType { kI64, kF64, kF32, kI32, kBF16, kF16, kI16, kI8, kU8, kBool };

// All of them, in the order in which safetensors files hold them.
std::span<const WeightType> weight_types();
// Bytes of one element.
int64_t element_size(WeightType type);
// As safetensors spells it: "F32", "BF16", "BOOL".
const char* name(WeightType type);

// Bytes of so many elements; nothing where 63 bits don't hold them, also where a size of zero beside the
// others would hide that from whoever computes strides. No size may be negative.
std::optional<int64_t> bytes_needed(WeightType type, std::span<const int64_t> shape);

struct WeightInfo {
  std::string name;
  WeightType type = WeightType::kF32;
  std::vector<int64_t> shape;  // empty: a scalar
  int64_t begin = 0;           // offset in the file
  int64_t bytes = 0;           // contiguous, little-endian
};

// An open file whose directory of weights was checked in full by the reader of its format. Reads with pread,
// so that a file cut meanwhile is an error, not a signal. Reading from several threads is fine.
class WeightFile {
 public:
  // The names are unique, and every range of bytes lies in the file.
  WeightFile(Descriptor file, std::vector<WeightInfo> weights, std::map<std::string, std::string> metadata);

  const std::vector<WeightInfo>& weights() const { return weights_; }  // in the order of their bytes
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const WeightInfo* find(std::string_view name) const;  // null where missing
  const std::string& path() const { return file_.name(); }

  // All bytes of a weight; `size` must be its `bytes`. Error{kModel} for an unknown name, Error{kIo} where
  // the file can't be read or was cut since it was opened.
  void read(std::string_view name, void* destination, size_t size) const;
  // `size` bytes from byte `offset` of the weight.
  void read_part(const WeightInfo& weight, int64_t offset, void* destination, size_t size) const;

 private:
  Descriptor file_;
  std::vector<WeightInfo> weights_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace precis

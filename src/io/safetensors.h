// safetensors files (https://github.com/huggingface/safetensors): read without trusting them, written as the
// reference implementation writes them. Knows nothing of tensors: names, types, shapes and bytes.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "io/weight_file.h"

namespace precis {

// The header is checked in full: types known, shapes and byte ranges agree, the ranges cover the file without
// overlap or hole. Error{kModel} for whatever is wrong with the file.
WeightFile open_safetensors(const std::filesystem::path& path);

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

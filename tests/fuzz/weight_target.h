// Reads every byte of a file of weights: ranges that a reader let through lie in the file.
#pragma once

#include <algorithm>
#include <string>

#include "fuzz/target.h"
#include "io/weight_file.h"

namespace precis {

inline void read_all(const WeightFile& file) {
  for (const WeightInfo& info : file.weights()) {
    require(bytes_needed(info.type, info.shape) == info.bytes);
    // PyTorch's tensors may share their bytes: a small file then has many large ones.
    std::string bytes(static_cast<size_t>(std::min<int64_t>(info.bytes, 4096)), '\0');
    file.read_part(info, info.bytes - static_cast<int64_t>(bytes.size()), bytes.data(), bytes.size());
    require(file.find(info.name) != nullptr && file.find(info.name)->begin == info.begin);
  }
}

}  // namespace precis

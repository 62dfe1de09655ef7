// The encoder states of a pack of documents between encoding and decoding, in training: in memory, or in a
// file where the memory budget leaves no room for them. Letters: B documents, T memory rows (padded), M
// width, R kept rows of an encoder call, t rows of a block.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "memory/cross_attention.h"
#include "memory/packs.h"

namespace precis::memory {

// Memory rows as streamed attention reads them.
struct MemorySource {
  std::vector<int64_t> rows_B;       // of each document
  std::vector<int64_t> first_row_B;  // the first of these in the whole document's memory
  int64_t max_rows = 0;              // T
  // Rows [begin, begin + rows) of every document, [B, rows, M]; rows past a document's own are never attended
  // to.
  std::function<at::Tensor(int64_t begin, int64_t rows)> read;

  static MemorySource of(MemoryBatch memory);
};

class StatesStore {
 public:
  // `type`: what the states are rounded to. With `spill`, a folder: in a file there, which has no name and is
  // gone with this. Throws Error{kIo} where it can't be made.
  StatesStore(const DocumentPack& pack, int64_t width, at::ScalarType type, at::Device device,
              const std::optional<std::filesystem::path>& spill);
  ~StatesStore();
  StatesStore(const StatesStore&) = delete;
  StatesStore& operator=(const StatesStore&) = delete;

  at::ScalarType type() const { return type_; }
  // The states of an encoder call, [R, M]. Throws Error{kIo} where the disk is full.
  void put(const at::Tensor& states_RM, const EncoderPack& windows);
  // [B, t, M] in the store's type, on the model's device.
  at::Tensor read(int64_t begin, int64_t rows) const;

 private:
  std::vector<int64_t> rows_B_;
  int64_t max_rows_ = 0, width_ = 0;
  at::ScalarType type_;
  at::Device device_;
  at::Tensor states_BTM_;  // in memory
  int file_ = -1;          // or here, in the same order
};

}  // namespace precis::memory

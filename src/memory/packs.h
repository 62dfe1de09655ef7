// Which windows share one encoder call, and which documents one decoder call. Grouping changes the speed and
// never the result: padding is masked, and dropout is keyed by window, not by place in a pack.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "memory/windows.h"

namespace precis::memory {

// The documents of one decoder call, their windows and where each kept row goes.
struct DocumentPack {
  std::vector<int64_t> documents;              // indices into the caller's list
  std::vector<std::vector<Window>> windows_B;  // of each document
  std::vector<int64_t> rows_B;                 // memory rows of each document
  int64_t max_rows = 0;
  // Where this is a part of the documents (part_of): what stands before it in each.
  std::vector<int64_t> first_window_B, first_row_B;

  int64_t size() const { return static_cast<int64_t>(documents.size()); }
};

// The `index`-th of `parts` parts: of every document about as many windows, side by side. A part may have
// none of a document's.
DocumentPack part_of(const DocumentPack& pack, int64_t index, int64_t parts);

// Rows of an encoder call that lie side by side in a document's memory.
struct MemorySegment {
  int64_t document = 0;    // its place in the DocumentPack
  int64_t memory_row = 0;  // of the document's rows in the pack: the first
  int64_t first = 0;       // of the call's R kept rows
  int64_t rows = 0;
};

// Windows of one encoder call. W windows padded to C positions; R kept rows.
struct EncoderPack {
  at::Tensor ids_WC;                    // int64
  std::vector<int64_t> lengths_W;       // positions without padding
  std::vector<int64_t> document_W;      // place of the window's document in the DocumentPack
  std::vector<int64_t> window_W;        // the window's index in the whole document
  at::Tensor from_R;                    // int64: kept rows in the pack's states seen as [W * C, D]
  at::Tensor to_R;                      // int64: their places in the pack's memory seen as [B * max_rows, D]
  std::vector<MemorySegment> segments;  // the kept rows once more, in their order
};

// The most padded positions in one encoder call (a single longer window goes alone). A GPU wants larger
// products.
inline int64_t encoder_pack_positions(at::Device device) { return device.is_cuda() ? 16384 : 4096; }
// The most padded memory rows in one decoder call (a single longer document goes alone).
inline constexpr int64_t kDocumentPackRows = 16384;
// The most documents in one: beam search holds every beam's scores of the whole vocabulary.
inline constexpr int64_t kDocumentPackDocuments = 64;

// Documents of like length together. Each pack is bounded by both, and has at most `most_documents` (from 1).
std::vector<DocumentPack> pack_documents(std::vector<std::vector<Window>> windows_of_documents,
                                         int64_t most_documents = kDocumentPackDocuments);

// The windows of a document pack in encoder calls, longest together. The pack must outlive it.
class WindowPacks {
 public:
  WindowPacks(const DocumentPack& pack, at::Device device);

  int64_t size() const { return static_cast<int64_t>(calls_.size()); }
  int64_t positions(int64_t call) const;  // padding included
  // Made anew at every call: what all encoder calls read is large for a long document.
  EncoderPack at(int64_t call, int64_t pad_token_id) const;

 private:
  struct Place {
    int64_t document;  // in the pack
    int64_t window;
    int64_t length;
    int64_t memory_row;  // of the document: that of the first kept row
  };
  const DocumentPack& pack_;
  at::Device device_;
  std::vector<std::vector<Place>> calls_;
};

}  // namespace precis::memory

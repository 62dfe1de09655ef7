// Windows and memory rows are those of the contract.
#include "memory/windows.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "memory/packs.h"
#include "memory/small_bart.h"

namespace precis::memory {
namespace {

TEST(Windows, EveryTokenIsInExactlyOneWindowAndInTheMemory) {
  const models::BartConfig config = small_config();
  for (const int64_t query : {0, 3, 7}) {
    for (const int64_t tokens : {0, 1, 7, 8, 9, 15, 16, 17, 100}) {
      const int64_t window = 17, piece = window - 2 - query;
      const DocumentTokens document = example(tokens, 1, 5, query).document;
      const std::vector<Window> windows = cut_windows(config, document, window);
      const int64_t count = std::max<int64_t>(1, (tokens + piece - 1) / piece);
      ASSERT_EQ(static_cast<int64_t>(windows.size()), count);
      EXPECT_EQ(memory_rows(windows), tokens + 2 + count * query);
      std::vector<int32_t> kept;
      for (const Window& cut : windows) {
        EXPECT_LE(static_cast<int64_t>(cut.ids.size()), window);
        EXPECT_EQ(cut.ids.front(), config.bos_token_id);
        EXPECT_EQ(cut.ids.back(), config.eos_token_id);
        kept.insert(kept.end(), cut.ids.begin() + cut.keep_begin, cut.ids.begin() + cut.keep_end);
      }
      std::vector<int32_t> want{0};
      for (int64_t k = 0; k < count; ++k) {
        want.insert(want.end(), document.query.begin(), document.query.end());
        const auto begin = document.text.begin() + k * piece;
        want.insert(want.end(), begin, document.text.begin() + std::min(tokens, (k + 1) * piece));
      }
      want.push_back(2);
      EXPECT_EQ(kept, want);
    }
  }
}

TEST(Windows, AQueryWithoutRoomIsRefused) {
  const models::BartConfig config = small_config();
  EXPECT_EQ(piece_length(config, 10, 7), 1);
  EXPECT_THROW(piece_length(config, 10, 8), Error);
  EXPECT_THROW(piece_length(config, 41, 0), Error);
  EXPECT_THROW(piece_length(config, 2, 0), Error);
}

TEST(Packs, HoldNoMoreDocumentsThanAsked) {
  const models::BartConfig config = small_config();
  const std::vector<std::vector<Window>> windows(5, cut_windows(config, example(20, 1, 1, 0).document, 23));
  EXPECT_EQ(pack_documents(windows).size(), 1u);
  std::vector<int64_t> sizes;
  for (const DocumentPack& pack : pack_documents(windows, 2)) sizes.push_back(pack.size());
  EXPECT_EQ(sizes, (std::vector<int64_t>{2, 2, 1}));
}

TEST(Packs, EveryKeptRowIsWrittenOnce) {
  const models::BartConfig config = small_config();
  std::vector<std::vector<Window>> windows;
  int64_t rows = 0;
  for (const int64_t tokens : {500, 3, 0, 77, 78, 20, 12000, 16}) {
    windows.push_back(cut_windows(config, example(tokens, 1, tokens, tokens % 5).document, 23));
    rows += memory_rows(windows.back());
  }
  int64_t written = 0;
  std::vector<bool> seen(windows.size());
  for (const DocumentPack& pack : pack_documents(windows)) {
    for (const int64_t document : pack.documents) {
      EXPECT_FALSE(seen[document]);
      seen[document] = true;
    }
    std::vector<int> places(pack.size() * pack.max_rows);
    const WindowPacks packs(pack, at::kCPU);
    for (int64_t call = 0; call < packs.size(); ++call) {
      const EncoderPack calls = packs.at(call, 1);
      EXPECT_LE(calls.ids_WC.numel(), encoder_pack_positions(at::kCPU));
      EXPECT_EQ(calls.ids_WC.numel(), packs.positions(call));
      const at::Tensor ids = calls.ids_WC.reshape({-1});
      for (int64_t r = 0; r < calls.to_R.size(0); ++r, ++written) {
        ++places[calls.to_R[r].item<int64_t>()];
        EXPECT_NE(ids[calls.from_R[r]].item<int64_t>(), 1);  // never padding
      }
    }
    for (int64_t b = 0; b < pack.size(); ++b) {
      for (int64_t row = 0; row < pack.max_rows; ++row) {
        EXPECT_EQ(places[b * pack.max_rows + row], row < pack.rows_B[b] ? 1 : 0);
      }
    }
  }
  EXPECT_EQ(written, rows);
}

}  // namespace
}  // namespace precis::memory

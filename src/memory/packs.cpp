// Grouping windows and documents of like length.
#include "memory/packs.h"

#include <algorithm>
#include <numeric>

namespace precis::memory {

namespace {

// Padding a document to more than about twice its rows costs more than a decoder call of its own saves.
bool too_unlike(int64_t shortest, int64_t longest) { return longest > 2 * shortest + 64; }

}  // namespace

std::vector<DocumentPack> pack_documents(std::vector<std::vector<Window>> windows_of_documents,
                                         int64_t most_documents) {
  most_documents = std::min(most_documents, kDocumentPackDocuments);
  const size_t count = windows_of_documents.size();
  std::vector<int64_t> rows(count);
  for (size_t i = 0; i < count; ++i) rows[i] = memory_rows(windows_of_documents[i]);
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return rows[a] < rows[b]; });

  std::vector<DocumentPack> packs;
  for (const int64_t document : order) {
    const bool fits = !packs.empty() && packs.back().size() < most_documents &&
                      rows[document] * (packs.back().size() + 1) <= kDocumentPackRows &&
                      !too_unlike(packs.back().rows_B.front(), rows[document]);
    if (!fits) packs.emplace_back();
    DocumentPack& pack = packs.back();
    pack.documents.push_back(document);
    pack.windows_B.push_back(std::move(windows_of_documents[document]));
    pack.rows_B.push_back(rows[document]);
    pack.first_window_B.push_back(0);
    pack.first_row_B.push_back(0);
    pack.max_rows = rows[document];  // ascending order: the last is the longest
  }
  return packs;
}

DocumentPack part_of(const DocumentPack& pack, int64_t index, int64_t parts) {
  DocumentPack part{.documents = pack.documents};
  for (int64_t b = 0; b < pack.size(); ++b) {
    const std::vector<Window>& windows = pack.windows_B[b];
    const int64_t count = static_cast<int64_t>(windows.size());
    // Documents of few windows begin at different parts.
    const int64_t turned = (index + b) % parts;
    const int64_t begin = count * turned / parts, end = count * (turned + 1) / parts;
    const std::vector<Window> before(windows.begin(), windows.begin() + begin);
    part.windows_B.emplace_back(windows.begin() + begin, windows.begin() + end);
    part.rows_B.push_back(memory_rows(part.windows_B.back()));
    part.max_rows = std::max(part.max_rows, part.rows_B.back());
    part.first_window_B.push_back(pack.first_window_B[b] + begin);
    part.first_row_B.push_back(pack.first_row_B[b] + memory_rows(before));
  }
  return part;
}

WindowPacks::WindowPacks(const DocumentPack& pack, at::Device device) : pack_(pack), device_(device) {
  std::vector<Place> places;
  for (int64_t b = 0; b < pack.size(); ++b) {
    int64_t memory_row = 0;
    for (size_t k = 0; k < pack.windows_B[b].size(); ++k) {
      const Window& window = pack.windows_B[b][k];
      places.push_back({b, static_cast<int64_t>(k), static_cast<int64_t>(window.ids.size()), memory_row});
      memory_row += window.kept_rows();
    }
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.length < b.length; });
  for (const Place& place : places) {
    const bool fits =
        !calls_.empty() &&
        place.length * static_cast<int64_t>(calls_.back().size() + 1) <= encoder_pack_positions(device) &&
        !too_unlike(calls_.back().front().length, place.length);
    if (!fits) calls_.emplace_back();
    calls_.back().push_back(place);
  }
}

int64_t WindowPacks::positions(int64_t call) const {
  const std::vector<Place>& places = calls_[static_cast<size_t>(call)];
  return static_cast<int64_t>(places.size()) * places.back().length;  // ascending
}

EncoderPack WindowPacks::at(int64_t call, int64_t pad_token_id) const {
  const std::vector<Place>& places = calls_[static_cast<size_t>(call)];
  const int64_t W = static_cast<int64_t>(places.size()), C = places.back().length;
  EncoderPack result;
  int64_t R = 0;
  for (const Place& place : places) R += pack_.windows_B[place.document][place.window].kept_rows();
  result.ids_WC = at::full({W, C}, pad_token_id, at::kLong);
  result.from_R = at::empty({R}, at::kLong);
  result.to_R = at::empty({R}, at::kLong);
  int64_t* ids = result.ids_WC.data_ptr<int64_t>();
  int64_t* from = result.from_R.data_ptr<int64_t>();
  int64_t* to = result.to_R.data_ptr<int64_t>();
  int64_t r = 0;
  for (int64_t w = 0; w < W; ++w) {
    const Place& place = places[w];
    const Window& window = pack_.windows_B[place.document][place.window];
    std::copy(window.ids.begin(), window.ids.end(), ids + w * C);
    MemorySegment* last = result.segments.empty() ? nullptr : &result.segments.back();
    if (last == nullptr || last->document != place.document ||
        last->memory_row + last->rows != place.memory_row) {
      last = &result.segments.emplace_back(
          MemorySegment{.document = place.document, .memory_row = place.memory_row, .first = r});
    }
    last->rows += window.kept_rows();
    const int64_t first_row = place.document * pack_.max_rows + place.memory_row;
    for (int64_t row = window.keep_begin; row < window.keep_end; ++row, ++r) {
      from[r] = w * C + row;
      to[r] = first_row + row - window.keep_begin;
    }
    result.lengths_W.push_back(place.length);
    result.document_W.push_back(place.document);
    result.window_W.push_back(pack_.first_window_B[place.document] + place.window);
  }
  if (device_ != at::kCPU) {
    result.ids_WC = result.ids_WC.to(device_);
    result.from_R = result.from_R.to(device_);
    result.to_R = result.to_R.to(device_);
  }
  return result;
}

}  // namespace precis::memory

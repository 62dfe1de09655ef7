// The decoding loop.
#include "generate/generate.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "generate/beam_cross_attention.h"

namespace precis::generate {

namespace {

constexpr int64_t kRowsAtOnce = 256;

TokenSequence as_one_window(const std::vector<memory::Window>& windows) {
  TokenSequence ids(windows.front().ids.begin(), windows.front().ids.end() - 1);
  for (size_t w = 1; w < windows.size(); ++w) {
    const memory::Window& window = windows[w];
    const auto end = window.ids.end() - 1;
    ids.insert(ids.end(), end - (window.text_end - window.text_begin), end);
  }
  ids.push_back(windows.back().ids.back());
  return ids;
}

}  // namespace

int64_t documents_at_once(const GenerationConfig& config) {
  return std::max<int64_t>(1, kRowsAtOnce / config.rows());
}

std::vector<SearchedDocument> searched_documents(const GenerationConfig& config,
                                                 const memory::DocumentPack& pack, uint64_t first_key) {
  std::vector<SearchedDocument> documents(static_cast<size_t>(pack.size()));
  for (size_t b = 0; b < documents.size(); ++b) {
    documents[b].key = first_key + static_cast<uint64_t>(pack.documents[b]);
    if (config.reads_document()) documents[b].read = as_one_window(pack.windows_B[b]);
  }
  return documents;
}

std::vector<std::vector<Generated>> generate(const models::BartModel& model, nn::CrossAttention& memory,
                                             std::vector<SearchedDocument> documents,
                                             const GenerationConfig& config, const Callbacks& callbacks) {
  const at::NoGradGuard no_grad;
  const int64_t positions = model.config().max_position_embeddings;
  if (config.max_length > positions + 1) {
    throw Error(ErrorKind::kUsage, {.what = "the decoder can't write so many tokens",
                                    .where = "max_length",
                                    .expected = "at most " + std::to_string(positions + 1),
                                    .found = std::to_string(config.max_length)});
  }
  const int64_t count = static_cast<int64_t>(documents.size());
  const std::unique_ptr<Search> search = make_search(config, std::move(documents));
  BeamCrossAttention beams(memory, count, config.rows());
  const int64_t rows = count * config.rows();
  models::DecoderCache cache = model.make_cache(rows, std::max<int64_t>(1, config.max_length - 1));
  at::Tensor ids_R = at::full({rows}, config.decoder_start_token_id, at::kLong);
  while (!search->done()) {
    throw_if_stopped(callbacks.stop);
    beams.set_live(search->live());
    const at::Tensor hidden_R1D = model.decode(ids_R.unsqueeze(1).to(model.device()), beams, {}, &cache);
    // As transformers: float32 scores whatever the model's own type.
    const at::Tensor logits_RV = model.logits(hidden_R1D.select(1, 0)).to(at::kFloat);
    // The greatest of all: nothing else shows a NaN or an infinity in one number, and -inf only bans a token.
    if (!std::isfinite(logits_RV.max().item<float>())) {
      const at::Tensor finite_R = std::get<0>(logits_RV.max(1)).isfinite();
      const int64_t row = finite_R.logical_not().to(at::kInt).argmax().item<int64_t>();
      throw Error(
          ErrorKind::kNonFinite,
          {.what = "the model's scores are not finite",
           .where = search->place(static_cast<size_t>(row / config.rows())),
           .hint = "inspect --verify looks through the weights; or the arithmetic of --dtype overflows"});
    }
    const Search::Step step = search->advance(logits_RV);
    if (callbacks.on_step)
      callbacks.on_step(search->length() - 1, static_cast<int64_t>(search->live().size()));
    if (callbacks.on_certain) {
      for (size_t i = 0; i < search->live().size(); ++i) {
        callbacks.on_certain(search->live()[i], search->certain(i));
      }
    }
    if (search->done()) break;
    if (step.moved) cache.reorder(step.parents_R.to(model.device()));
    ids_R = step.tokens_R;
  }
  return std::move(*search).results();
}

}  // namespace precis::generate

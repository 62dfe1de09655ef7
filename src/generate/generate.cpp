// The decoding loop.
#include "generate/generate.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "generate/beam_cross_attention.h"

namespace precis::generate {

std::vector<Generated> generate(const models::BartModel& model, nn::CrossAttention& memory, int64_t documents,
                                const GenerationConfig& config, const Callbacks& callbacks) {
  const at::NoGradGuard no_grad;
  const int64_t positions = model.config().max_position_embeddings;
  if (config.max_length > positions + 1) {
    throw Error(ErrorKind::kUsage, {.what = "the decoder can't write so many tokens",
                                    .where = "max_length",
                                    .expected = "at most " + std::to_string(positions + 1),
                                    .found = std::to_string(config.max_length)});
  }
  const std::unique_ptr<Search> search = make_search(config, documents);
  BeamCrossAttention beams(memory, documents, config.num_beams);
  const int64_t rows = documents * config.num_beams;
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
      throw Error(
          ErrorKind::kNonFinite,
          {.what = "the model's scores are not finite",
           .where = "token " + std::to_string(search->length()),
           .hint = "inspect --verify looks through the weights; or the arithmetic of --dtype overflows"});
    }
    const Search::Step step = search->advance(logits_RV);
    if (callbacks.on_step)
      callbacks.on_step(search->length() - 1, static_cast<int64_t>(search->live().size()));
    if (search->done()) break;
    if (step.moved) cache.reorder(step.parents_R.to(model.device()));
    ids_R = step.tokens_R;
  }
  return std::move(*search).results();
}

}  // namespace precis::generate

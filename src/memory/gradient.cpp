// Gradients of whole documents under every schedule.
#include "memory/gradient.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "memory/cost.h"
#include "nn/token_loss.h"

namespace precis::memory {

namespace {

// The decoder's side of a pack. N target tokens over all its documents.
struct TargetBatch {
  at::Tensor input_ids_BS;  // labels shifted right behind decoder_start_token_id
  at::Tensor positions_N;   // real positions in [B * S]
  at::Tensor labels_N;
};

TargetBatch target_batch(const models::BartModel& model, const std::vector<Example>& examples,
                         const DocumentPack& pack) {
  const models::BartConfig& config = model.config();
  const int64_t B = pack.size();
  int64_t S = 0, N = 0;
  for (const int64_t document : pack.documents) {
    const int64_t length = static_cast<int64_t>(examples[document].target.size());
    S = std::max(S, length);
    N += length;
  }
  TargetBatch batch{at::full({B, S}, config.pad_token_id, at::kLong), at::empty({N}, at::kLong),
                    at::empty({N}, at::kLong)};
  int64_t* inputs = batch.input_ids_BS.data_ptr<int64_t>();
  int64_t* positions = batch.positions_N.data_ptr<int64_t>();
  int64_t* labels = batch.labels_N.data_ptr<int64_t>();
  int64_t n = 0;
  for (int64_t b = 0; b < B; ++b) {
    const std::vector<int32_t>& target = examples[pack.documents[b]].target;
    for (size_t s = 0; s < target.size(); ++s, ++n) {
      inputs[b * S + s] = s == 0 ? config.decoder_start_token_id : target[s - 1];
      positions[n] = b * S + static_cast<int64_t>(s);
      labels[n] = target[s];
    }
  }
  batch.input_ids_BS = batch.input_ids_BS.to(model.device());
  batch.positions_N = batch.positions_N.to(model.device());
  batch.labels_N = batch.labels_N.to(model.device());
  return batch;
}

nn::TokenLoss decode_loss(const models::BartModel& model, const TargetBatch& targets,
                          nn::CrossAttention& memory, const nn::Dropout& dropout, double label_smoothing) {
  const at::Tensor hidden_BSD = model.decode(targets.input_ids_BS, memory, dropout);
  const at::Tensor hidden_ND =
      hidden_BSD.reshape({-1, hidden_BSD.size(2)}).index_select(0, targets.positions_N);
  return nn::token_loss(hidden_ND, model.output_weight_VD(), model.output_bias_V(), targets.labels_N,
                        label_smoothing);
}

std::vector<DocumentPack> packs_of(const models::BartModel& model, const std::vector<Example>& examples,
                                   int64_t window) {
  std::vector<std::vector<Window>> windows;
  windows.reserve(examples.size());
  for (const Example& example : examples)
    windows.push_back(cut_windows(model.config(), example.document, window));
  return pack_documents(std::move(windows));
}

}  // namespace

BatchLoss accumulate_gradient(const models::BartModel& model, const std::vector<Example>& examples,
                              const GradientOptions& options, const StopToken* stop) {
  const CostModel cost(model, {.window = options.window,
                               .attention_dropout = options.dropout.attention > 0,
                               .memory_type = options.memory_type,
                               .may_spill = options.spill.has_value()});
  parallel::Communicator& ranks = options.ranks == nullptr ? parallel::one_rank() : *options.ranks;
  StepDropout dropout = options.dropout;
  dropout.document_keys.clear();
  BatchLoss loss;
  for (const Example& example : examples) {
    dropout.document_keys.push_back(example.key);
    if (ranks.leads()) loss.source_tokens += static_cast<int64_t>(example.document.text.size());
  }
  for (DocumentPack& whole : packs_of(model, examples, options.window)) {
    const DocumentPack pack =
        ranks.size() == 1 ? std::move(whole) : part_of(whole, ranks.rank(), ranks.size());
    throw_if_stopped(stop);
    const TargetBatch targets = target_batch(model, examples, pack);
    const PackShape shape = PackShape::of(pack, targets.input_ids_BS.size(1), model.device());
    const Way way = options.bytes ? cost.fastest(shape, *options.bytes) : options.way;
    auto states = std::make_unique<StatesStore>(pack, model.config().d_model, cost.memory_type(),
                                                model.device(), way.spilled ? options.spill : std::nullopt);
    std::vector<at::Tensor> graphs =
        encode_for_training(model, pack, dropout, way.retained, *states, stop, options.progress);
    if (options.progress) options.progress(StepPhase::kDecoding, 0, 0);
    MemoryGradient memory(cross_mode(way.schedule), pack, model.activation_type(), std::move(states), ranks);
    memory.back_propagate([&](nn::CrossAttention& attention) {
      const nn::TokenLoss tokens =
          decode_loss(model, targets, attention, dropout.decoder(pack), options.label_smoothing);
      if (ranks.leads()) {
        loss.nll_sum += tokens.nll_N.sum(at::kDouble).item<double>();
        loss.target_tokens += tokens.nll_N.size(0);
      }
      return tokens.objective.mul(options.weight);
    });
    backward_through_windows(model, pack, dropout, std::move(graphs), memory, stop, options.progress);
  }
  return loss;
}

std::vector<DocumentLoss> pack_losses(const models::BartModel& model, const std::vector<Example>& examples,
                                      const DocumentPack& pack, const MemoryBatch& memory) {
  const at::NoGradGuard no_grad;
  StreamedCrossAttention attention(MemorySource::of(memory));
  const at::Tensor nll_N = decode_loss(model, target_batch(model, examples, pack), attention, {}, 0.0)
                               .nll_N.to(at::kCPU, at::kDouble);
  const double* nll = nll_N.const_data_ptr<double>();
  std::vector<DocumentLoss> losses;
  for (const int64_t document : pack.documents) {
    DocumentLoss& loss = losses.emplace_back();
    loss.tokens = static_cast<int64_t>(examples[document].target.size());
    for (int64_t i = 0; i < loss.tokens; ++i) loss.nll_sum += *nll++;
  }
  return losses;
}

}  // namespace precis::memory

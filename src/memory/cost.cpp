// Sums of shapes. Letters: d width, f feed-forward width, L layers, C window, S targets.
#include "memory/cost.h"

#include <algorithm>
#include <bit>

#include "kernels/attention.h"
#include "memory/cross_block.h"
#include "memory/plan_terms.h"
#include "nn/attention.h"
#include "nn/bfloat16.h"

namespace precis::memory {

PackShape PackShape::largest(const models::BartConfig& config, int64_t window, const PlanData& data,
                             at::Device device) {
  const int64_t piece = piece_length(config, window, data.longest_query);
  const auto share = [&](int64_t count) { return (count + data.ranks - 1) / data.ranks; };
  const int64_t windows = share(std::max<int64_t>(1, (data.longest_document + piece - 1) / piece));
  const int64_t tokens = std::min(data.longest_document, windows * piece);
  PackShape shape;
  shape.longest_rows = tokens + 2 + windows * data.longest_query;
  const int64_t documents = std::min(data.documents, kDocumentPackDocuments);
  shape.rows = std::max(shape.longest_rows, std::min(kDocumentPackRows, documents * shape.longest_rows));
  // Windows of one encoder call are padded to the longest.
  const int64_t of_rows = documents + shape.rows / piece;
  shape.positions = std::min(window, shape.longest_rows + 2) * std::min(documents * windows, of_rows);
  shape.call_positions =
      std::min(shape.positions, std::max(std::min(window, shape.positions), encoder_pack_positions(device)));
  shape.targets = documents * data.longest_target;
  shape.longest_target = data.longest_target;
  return shape;
}

PackShape PackShape::of(const DocumentPack& pack, int64_t longest_target, at::Device device) {
  PackShape shape{.longest_rows = pack.max_rows,
                  .rows = pack.size() * pack.max_rows,
                  .targets = pack.size() * longest_target,
                  .longest_target = longest_target};
  const WindowPacks calls(pack, device);
  for (int64_t call = 0; call < calls.size(); ++call) {
    shape.positions += calls.positions(call);
    shape.call_positions = std::max(shape.call_positions, calls.positions(call));
  }
  return shape;
}

int64_t PlanPhase::bytes() const {
  int64_t sum = 0;
  for (const PlanPart& part : parts) sum += part.bytes;
  return sum;
}

CostModel::CostModel(const models::BartModel& model, const CostSettings& settings)
    : config_(model.config()),
      settings_(settings),
      device_(model.device()),
      memory_type_(settings.memory_type.value_or(model.activation_type())) {
  const auto size = [](at::ScalarType type) { return static_cast<int64_t>(c10::elementSize(type)); };
  weight_ = size(model.dtype());
  // What is widened for a product leaves the wide copy in the graph.
  const bool wide = nn::widens_bfloat16(model.activation_type(), model.device());
  product_ = size(wide ? at::kFloat : model.activation_type());
  state_ = size(memory_type_);
  score_ = size(score_type(model.activation_type()));
  encoder_kernels_ = kernels::has_attention(model.activation_type(), model.device(),
                                            config_.d_model / config_.encoder_attention_heads);
  cross_kernels_ = kernels::has_attention(model.activation_type(), model.device(),
                                          config_.d_model / config_.decoder_attention_heads);
  const auto fused = [&](int64_t heads) {
    return nn::attention_is_fused(model.activation_type(), model.device(), config_.d_model / heads,
                                  settings.attention_dropout);
  };
  fused_ = fused(config_.encoder_attention_heads) && fused(config_.decoder_attention_heads);
}

// Scores, probabilities and their dropped copy.
int64_t CostModel::plain_scores(const PackShape& shape) const {
  return 3 * product_ * config_.encoder_attention_heads * std::min(settings_.window, shape.longest_rows);
}

// What models/bart/bart_encoder_graph.h keeps of a layer: of all, the attention's output and the sum before
// the last norm, and each query's log-sum-exp; in full also queries, keys and values, the inner state and the
// sum before the first norm. The embeddings' sum, norm and dropped result come on top, and what a plain
// attention makes.
int64_t CostModel::encoder_graph_bytes(const PackShape& shape, bool lean) const {
  const int64_t d = config_.d_model;
  int64_t layer = d * (product_ + weight_) + config_.encoder_attention_heads * score_ + 4 * weight_;
  if (!lean) layer += d * (3 * product_ + weight_) + config_.encoder_ffn_dim * product_;
  if (!lean && !fused_) layer += plain_scores(shape);
  return config_.encoder_layers * layer + 3 * d * weight_;
}

// As above, with the cross-attention's sum and norm, query, output and log-sum-exp, and three ids of int64.
int64_t CostModel::decoder_graph_bytes(const PackShape& shape) const {
  const int64_t d = config_.d_model, copies = weight_ == product_ ? 0 : 1;
  int64_t layer = 6 * d * weight_ + (6 + 3 * copies) * d * product_ + 2 * config_.decoder_ffn_dim * product_ +
                  config_.decoder_attention_heads * score_;
  if (!fused_) layer += 3 * product_ * config_.decoder_attention_heads * shape.longest_target;
  return config_.decoder_layers * layer + 3 * d * weight_ + 24;
}

// Of a kernel, keys and values as they are and laid out anew, or with their gradients and that of the states,
// in the products' type. Of plain products, keys and values in two layouts, one after the other; their
// gradients in two layouts, and that of the states; scores, their gradient and, with dropout, the factors and
// the dropped probabilities.
int64_t CostModel::block_elements(int64_t most_rows, int64_t documents, int64_t targets,
                                  bool with_gradients) const {
  const int64_t row_scores = documents * targets * config_.decoder_attention_heads;
  const int64_t rows = std::min(most_rows, rows_of_a_block(row_scores, device_));
  if (cross_kernels_)
    return documents * rows * (with_gradients ? 5 : 4) * config_.d_model * product_ / score_;
  return rows *
         ((settings_.attention_dropout ? 4 : 2) * row_scores + (with_gradients ? 8 : 3) * config_.d_model);
}

Retention CostModel::retained(const PackShape& shape, const Way& way) const {
  const auto whole_calls = [&](int64_t positions, int64_t of) {
    return positions >= of ? of : positions - positions % shape.call_positions;
  };
  Retention result;
  result.full = whole_calls(way.retained.full, shape.positions);
  result.lean = whole_calls(way.retained.lean, shape.positions - result.full);
  return result;
}

std::vector<PlanPhase> CostModel::phases(const PackShape& shape, const Way& way) const {
  const int64_t d = config_.d_model, V = config_.vocab_size;
  const CrossMode mode = cross_mode(way.schedule);
  const bool held = mode == CrossMode::kHeld, two_sweep = mode == CrossMode::kTwoSweep;
  const Retention retained = this->retained(shape, way);
  const int64_t full_graph = encoder_graph_bytes(shape, false), lean_graph = encoder_graph_bytes(shape, true);
  const int64_t memory = shape.rows * d;  // elements
  const int64_t piece_rows = std::min<int64_t>(shape.targets, 512), head = V * d;

  const PlanPart states = {"memory (encoder states)", way.spilled ? 0 : memory * state_};
  const PlanPart gradient = {"gradient of the memory", two_sweep ? 0 : memory * score_};
  const PlanPart graphs = {"retained graphs of windows",
                           retained.full * full_graph + retained.lean * lean_graph};
  const PlanPart of_queries = {
      "queries and their gradients, for the second sweep",
      two_sweep ? config_.decoder_layers * shape.targets * 2 * (d + config_.decoder_attention_heads) * score_
                : 0};

  std::vector<PlanPhase> phases;
  phases.push_back(
      {"while its windows are encoded",
       {states,
        graphs,
        {"one pack of windows", encoder_call_elements(config_, shape.call_positions) * product_}}});
  phases.push_back(
      {"while a pack of documents is decoded",
       {states,
        gradient,
        graphs,
        {"keys and values of the decoder", held ? 2 * memory * config_.decoder_layers * product_ : 0},
        {"a block's keys, values and scores",
         block_elements(shape.longest_rows, shape.documents(), shape.longest_target, !two_sweep) * score_},
        {"decoder graph", shape.targets * decoder_graph_bytes(shape)},
        of_queries,
        // The head's gradient is made beside a piece's logits, and then scaled into a second one.
        {"vocabulary: logits of a piece, gradient of the head",
         (std::max(2 * piece_rows * V, head) + head) * weight_}}});
  const bool all = retained.full + retained.lean >= shape.positions;
  const int64_t again = all ? 0 : shape.call_positions * full_graph;
  // In the second sweep the rows' gradient comes first.
  const int64_t second_sweep =
      two_sweep
          ? (shape.call_positions * d + block_elements(std::min(shape.call_positions, shape.longest_rows), 1,
                                                       shape.longest_target, /*with_gradients=*/true)) *
                score_
          : 0;
  // Three inner states, two states past the products and three beside them; where a graph is lean, what it
  // left out.
  int64_t layer = (3 * d + 3 * config_.encoder_ffn_dim) * product_ + 2 * d * weight_;
  if (retained.lean > 0) {
    layer += (3 * d + config_.encoder_ffn_dim) * product_ + d * weight_;
    if (!fused_) layer += plain_scores(shape);
  }
  const int64_t one_layer = shape.call_positions * layer;
  phases.push_back({"while the windows' gradients are made",
                    {gradient,
                     of_queries,
                     {"encoder graphs, retained or of one pack of windows", std::max(graphs.bytes, again)},
                     {"their gradients, one layer", std::max(one_layer, second_sweep)}}});
  return phases;
}

int64_t CostModel::bytes(const PackShape& shape, const Way& way) const {
  int64_t largest = 0;
  for (const PlanPhase& phase : phases(shape, way)) largest = std::max(largest, phase.bytes());
  return largest;
}

double CostModel::flops(const PackShape& shape, const Way& way) const {
  const double d = static_cast<double>(config_.d_model), V = static_cast<double>(config_.vocab_size);
  const double encoder_layers = static_cast<double>(config_.encoder_layers);
  const double decoder_layers = static_cast<double>(config_.decoder_layers);
  const double positions = static_cast<double>(shape.positions), rows = static_cast<double>(shape.rows);
  const double targets = static_cast<double>(shape.targets);
  const double S = static_cast<double>(shape.longest_target);
  const double C = static_cast<double>(std::min(settings_.window, shape.longest_rows));

  // Of a position: four projections, two of the feed-forward; an attention's forward pass has two products
  // and its backward pass five.
  const double products = encoder_layers * (8 * d * d + 4 * d * static_cast<double>(config_.encoder_ffn_dim));
  const double attention = encoder_layers * 2 * C * d;
  const double forward = products + 2 * attention;
  const Retention retained = this->retained(shape, way);
  const double lean = static_cast<double>(retained.lean);
  const double made_again = positions - static_cast<double>(retained.full) - lean;
  // A lean graph lacks the queries, keys and values, the attention block's output and the inner state.
  const double left_out =
      encoder_layers * (8 * d * d + 2 * d * static_cast<double>(config_.encoder_ffn_dim)) +
      (encoder_kernels_ ? 0 : 2 * attention);
  const double encoder =
      positions * (forward + 2 * products + 5 * attention) + made_again * forward + lean * left_out;

  // Of a target, without the memory: six projections, the feed-forward, half a square of self-attention, the
  // vocabulary.
  const double decoder =
      targets * 3 *
      (decoder_layers * (12 * d * d + 4 * d * static_cast<double>(config_.decoder_ffn_dim) + 2 * S * d) +
       2 * d * V);

  // Of a memory row and layer: keys and values projected, products of queries with it, the projection's
  // gradients.
  const CrossMode mode = cross_mode(way.schedule);
  const double projection = 4 * d * d, product = 2 * S * d;
  const double projections = mode == CrossMode::kHeld ? 1 : mode == CrossMode::kStreamed ? 2 : 3;
  const double attended = mode == CrossMode::kTwoSweep ? 9 : 7;
  const double cross =
      rows * decoder_layers * (projections * projection + attended * product + 2 * projection);
  return encoder + decoder + cross;
}

Retention CostModel::most_retained(const PackShape& shape, EncodeSchedule schedule, int64_t limit) const {
  if (shape.positions == 0) return {};  // all windows are other ranks'
  const auto fits = [&](const Retention& retention) { return bytes(shape, {schedule, retention}) <= limit; };
  // The most encoder calls of which `of` makes a retention that fits, by bisection. Whole calls of the
  // largest size, and no more than was counted: smaller calls would fill the rest.
  const auto most = [&](const auto& of) {
    int64_t calls = 0;
    for (int64_t step = std::bit_floor(static_cast<uint64_t>(shape.positions / shape.call_positions + 1));
         step > 0; step /= 2) {
      if ((calls + step) * shape.call_positions < shape.positions + shape.call_positions &&
          fits(of(calls + step))) {
        calls += step;
      }
    }
    return calls;
  };
  const auto positions = [&](int64_t calls) { return calls * shape.call_positions; };
  const auto lean_only = [&](int64_t calls) { return Retention{.lean = positions(calls)}; };
  const auto rest_lean = [&](int64_t calls) { return Retention{positions(calls), kAllPositions}; };
  if (encoder_kernels_ && !fits(rest_lean(0)))
    return this->retained(shape, {schedule, lean_only(most(lean_only))});
  const auto full_only = [&](int64_t calls) { return Retention{.full = positions(calls)}; };
  const auto kept = encoder_kernels_ ? rest_lean(most(rest_lean)) : full_only(most(full_only));
  if (kept.full >= shape.positions) return {.full = kAllPositions};
  return kept;
}

Way CostModel::fastest(const PackShape& shape, int64_t limit) const {
  Way best = way_of(EncodeSchedule::kTwoSweep);
  best.spilled = settings_.may_spill;
  double least = 0.0;
  for (const EncodeSchedule schedule :
       {EncodeSchedule::kCached, EncodeSchedule::kStreamed, EncodeSchedule::kTwoSweep}) {
    Way way{schedule, {}};
    if (bytes(shape, way) > limit) continue;
    way.retained = most_retained(shape, schedule, limit);
    const double arithmetic = flops(shape, way);
    if (least == 0.0 || arithmetic < least) {
      best = way;
      least = arithmetic;
    }
  }
  if (best.schedule == EncodeSchedule::kCached && best.retained.full == kAllPositions) {
    best.schedule = EncodeSchedule::kKept;
  }
  return best;
}

}  // namespace precis::memory

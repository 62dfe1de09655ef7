// The memory plan of a training step.
#include "memory/plan.h"

#include <algorithm>
#include <cstdio>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory_use.h"
#include "memory/cross_block.h"
#include "memory/plan_terms.h"
#include "nn/bfloat16.h"

namespace precis::memory {

namespace {

// Bytes an element: of weights and what is beside them, norms and sums; and of products.
struct ElementBytes {
  int64_t weight = 0, product = 0;

  explicit ElementBytes(const models::BartModel& model) {
    weight = static_cast<int64_t>(c10::elementSize(model.dtype()));
    // What is widened for a product leaves the wide copy in the graph.
    const bool wide = nn::widens_bfloat16(model.activation_type(), model.device());
    product = static_cast<int64_t>(c10::elementSize(wide ? at::kFloat : model.activation_type()));
  }
  // Each product reads a copy of its input where the types differ.
  int64_t copies() const { return weight == product ? 0 : 1; }
};

// Bytes a position that one encoder layer's graph keeps: the layer's input, two sums before a norm and one
// norm's output (4 d); q, k, v and the attention's output (4 d), the feed-forward's two inner states (2 f).
int64_t encoder_graph_bytes(const models::BartConfig& config, const ElementBytes& bytes) {
  const int64_t d = config.d_model;
  return config.encoder_layers * (4 * d * bytes.weight + (4 + 2 * bytes.copies()) * d * bytes.product +
                                  2 * config.encoder_ffn_dim * bytes.product) +
         3 * d * bytes.weight;
}

// As above, with the cross-attention's sum and norm, query and output.
int64_t decoder_graph_bytes(const models::BartConfig& config, const ElementBytes& bytes) {
  const int64_t d = config.d_model;
  return config.decoder_layers * (6 * d * bytes.weight + (6 + 3 * bytes.copies()) * d * bytes.product +
                                  2 * config.decoder_ffn_dim * bytes.product) +
         3 * d * bytes.weight;
}

// The largest pack of documents that one decoder call sees: the longest document, or several shorter ones up
// to the packs' bounds, each with the longest target.
struct LargestPack {
  int64_t longest_rows = 0;
  int64_t rows = 0;       // of memory
  int64_t positions = 0;  // of the encoder
  int64_t targets = 0;    // tokens

  LargestPack(const models::BartConfig& config, int64_t window, const PlanData& data) {
    const int64_t piece = piece_length(config, window, data.longest_query);
    const int64_t windows = std::max<int64_t>(1, (data.longest_document + piece - 1) / piece);
    longest_rows = data.longest_document + 2 + windows * data.longest_query;
    const int64_t documents = std::min(data.documents, kDocumentPackDocuments);
    rows = std::max(longest_rows, std::min(kDocumentPackRows, documents * longest_rows));
    // Windows of one encoder call are padded to the longest.
    const int64_t of_rows = documents + rows / piece;
    positions = std::min(window, longest_rows + 2) * std::min(documents * windows, of_rows);
    targets = documents * data.longest_target;
  }
  // Of one encoder call.
  int64_t pack_positions(int64_t window) const {
    return std::min(positions, std::max(std::min(window, positions), kEncoderPackPositions));
  }
};

// Elements of streamed attention: a block's scores with what is derived from them, its keys and values and
// their gradients in two layouts.
int64_t block_elements(const models::BartConfig& config, const LargestPack& pack, int64_t queries) {
  const int64_t row_scores = queries * config.decoder_attention_heads;
  const int64_t rows = std::min(pack.longest_rows, rows_of_a_block(row_scores));
  return 4 * rows * row_scores + 8 * rows * config.d_model;
}

// Elements of a pack that is scored and summarised, without any graph.
int64_t validation_elements(const models::BartConfig& config, const PlanRequest& request, bool streamed) {
  const LargestPack pack(config, request.window, *request.validation);
  const int64_t encoder = encoder_call_elements(config, pack.pack_positions(request.window));
  const int64_t loss = block_elements(config, pack, pack.targets) +
                       pack.targets * (6 * config.d_model + 2 * config.decoder_ffn_dim) +
                       std::min<int64_t>(pack.targets, 512) * 2 * config.vocab_size;
  int64_t writing = 0;
  if (request.generation) {
    const int64_t documents =
        std::min({request.validation->documents, request.generation->documents, kDocumentPackDocuments});
    const int64_t sequences = documents * request.generation->num_beams;
    const int64_t packed_weights =
        config.decoder_layers * (6 * config.d_model + 2 * config.decoder_ffn_dim) * config.d_model +
        config.vocab_size * config.d_model;
    writing = packed_weights + sequence_elements(config, sequences, request.generation->max_length) +
              (streamed ? absorbed_block_elements(config, pack.longest_rows, documents, sequences)
                        : held_elements(config, pack.rows, config.decoder_layers));
  }
  return pack.rows * config.d_model + std::max({encoder, loss, writing});
}

MemoryPlan plan_for(const models::BartModel& model, const PlanRequest& request, EncodeSchedule schedule) {
  const models::BartConfig& config = model.config();
  const ElementBytes bytes(model);
  const int64_t element = bytes.product;
  int64_t weights = 0;  // bytes
  for (const auto& [name, tensor] : model.parameters()) weights += static_cast<int64_t>(tensor.nbytes());

  const LargestPack pack(config, request.window, request.training);
  const bool kept = schedule == EncodeSchedule::kKept;
  const bool streamed = schedule == EncodeSchedule::kStreamed;
  const bool held = !streamed && !request.attention_dropout;
  const int64_t graph_positions = kept ? pack.positions : pack.pack_positions(request.window);
  int64_t graph = graph_positions * encoder_graph_bytes(config, bytes);
  int64_t decoder_graph = pack.targets * decoder_graph_bytes(config, bytes);
  if (request.attention_dropout) {  // scores, probabilities and their dropped copy
    graph += 3 * element * graph_positions * config.encoder_layers * config.encoder_attention_heads *
             std::min(request.window, pack.longest_rows);
    decoder_graph += 3 * element * pack.targets * config.decoder_layers * config.decoder_attention_heads *
                     request.training.longest_target;
  }
  const int64_t piece_rows = std::min<int64_t>(pack.targets, 512);
  const int64_t head = config.vocab_size * config.d_model;

  MemoryPlan plan;
  plan.schedule = schedule;
  plan.budget = request.budget;
  plan.memory_rows = pack.rows;
  const int64_t memory = pack.rows * config.d_model;  // elements
  const PlanPart encoder_graph = {kept ? "encoder graphs, all windows" : "encoder graph, one pack of windows",
                                  graph};
  const PlanPart states = {"memory (encoder states)", memory * element};
  const PlanPart states_gradient = {"gradient of the memory", memory * element};
  PlanPhase decoding = {
      "while a pack of documents is decoded",
      {states,
       states_gradient,
       {"keys and values of the decoder", held ? 2 * memory * config.decoder_layers * element : 0},
       {"their gradients, one layer", held ? 4 * memory * element : 0},
       {"its part from one layer, and their sum", held ? 0 : 2 * memory * element},
       {"a block's keys, values and scores", held ? 0 : block_elements(config, pack, pack.targets) * element},
       {"decoder graph", decoder_graph},
       // The head's gradient is made beside a piece's logits, and then scaled into a second one.
       {"vocabulary: logits of a piece, gradient of the head",
        (std::max(2 * piece_rows * config.vocab_size, head) + head) * bytes.weight}}};
  if (kept) decoding.parts.push_back(encoder_graph);
  plan.throughout = {
      "throughout",
      {{"program, libraries and data", std::max<int64_t>(0, resident_memory_bytes() - weights)},
       {"weights", weights},
       {"gradients", weights},
       {"optimiser", weights * request.optimizer_states}}};
  plan.phases.push_back(std::move(decoding));
  if (!kept) {
    const int64_t one_layer = graph_positions * (4 * config.d_model + 2 * config.encoder_ffn_dim);
    plan.phases.push_back(
        {"while its windows are encoded again",
         {states, states_gradient, encoder_graph, {"its gradients, one layer", one_layer * element}}});
  }
  if (request.validation) {
    plan.phases.push_back(
        {"in validation",
         {{"memory, keys and values, beams", validation_elements(config, request, streamed) * element}}});
  }
  return plan;
}

}  // namespace

int64_t PlanPhase::bytes() const {
  int64_t sum = 0;
  for (const PlanPart& part : parts) sum += part.bytes;
  return sum;
}

int64_t plan_slack(int64_t tensors) { return tensors / 8 + (int64_t{48} << 20); }

int64_t MemoryPlan::tensors() const {
  int64_t largest = 0;
  for (const PlanPhase& phase : phases) largest = std::max(largest, phase.bytes());
  return throughout.bytes() + largest;
}

std::string MemoryPlan::describe() const {
  std::string text = std::string("memory plan, schedule ") + name(schedule) + ", largest pack " +
                     std::to_string(memory_rows) + " memory rows\n";
  const auto add = [&](const std::string& label, int64_t bytes) {
    char line[160];
    std::snprintf(line, sizeof line, "  %-56s %12s\n", label.c_str(), format_bytes(bytes).c_str());
    text += line;
  };
  const auto add_phase = [&](const PlanPhase& phase) {
    add(phase.name, phase.bytes());
    for (const PlanPart& part : phase.parts) {
      if (part.bytes > 0) add("  " + part.name, part.bytes);
    }
  };
  add_phase(throughout);
  for (const PlanPhase& phase : phases) add_phase(phase);
  add("workspaces and what the allocator keeps", plan_slack(tensors()));
  add("total, with the largest phase", total());
  if (budget) add("budget", *budget);
  return text;
}

MemoryPlan plan_memory(const models::BartModel& model, const PlanRequest& request) {
  if (request.schedule != EncodeSchedule::kAuto) return plan_for(model, request, request.schedule);
  // What this process holds already is in the plan.
  const int64_t machine = available_memory_bytes() + resident_memory_bytes();
  const int64_t limit = request.budget.value_or(machine / 10 * 7);
  std::vector<EncodeSchedule> schedules = {EncodeSchedule::kKept, EncodeSchedule::kCached,
                                           EncodeSchedule::kStreamed};
  if (request.preferred) schedules.insert(schedules.begin(), *request.preferred);
  MemoryPlan plan;
  for (const EncodeSchedule schedule : schedules) {
    plan = plan_for(model, request, schedule);
    if (plan.total() <= limit) return plan;
  }
  return plan;  // without a budget the leanest schedule is tried whatever the machine
}

void check_budget(const MemoryPlan& plan) {
  if (!plan.budget || plan.total() <= *plan.budget) return;
  throw Error(ErrorKind::kBudget, {.what = "the memory budget can't be met",
                                   .where = "encoder.memory_budget",
                                   .expected = "at least " + format_bytes(plan.total()) +
                                               " under the schedule " + name(plan.schedule),
                                   .found = format_bytes(*plan.budget),
                                   .hint = "raise the budget, or lower batch.documents, window or what "
                                           "validation does, or use the schedule auto"});
}

}  // namespace precis::memory

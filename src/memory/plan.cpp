// The memory plan of a training step.
#include "memory/plan.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "base/memory_use.h"
#include "memory/streamed_attention.h"

namespace precis::memory {

namespace {

// Elements a position that one encoder layer's graph keeps: the layer's input, q, k, v, the attention's
// output, two sums before a norm and one norm's output (8 d), the feed-forward's two inner states (2 f).
int64_t encoder_graph_elements(const models::BartConfig& config) {
  return config.encoder_layers * (8 * config.d_model + 2 * config.encoder_ffn_dim) + 3 * config.d_model;
}

// As above, with the cross-attention's query, output, sum and norm.
int64_t decoder_graph_elements(const models::BartConfig& config) {
  return config.decoder_layers * (12 * config.d_model + 2 * config.decoder_ffn_dim) + 3 * config.d_model;
}

MemoryPlan plan_for(const models::BartModel& model, const PlanRequest& request, EncodeSchedule schedule) {
  const models::BartConfig& config = model.config();
  const int64_t element = static_cast<int64_t>(c10::elementSize(model.dtype()));
  int64_t parameters = 0;
  for (const auto& [name, tensor] : model.parameters()) parameters += tensor.numel();

  const int64_t piece = piece_length(config, request.window, request.longest_query);
  const int64_t windows = std::max<int64_t>(1, (request.longest_document + piece - 1) / piece);
  const int64_t longest_rows = request.longest_document + 2 + windows * request.longest_query;
  const int64_t longest_positions = longest_rows + 2 * windows;
  // A pack holds one long document, or several short ones up to its bound.
  const int64_t together = std::clamp<int64_t>(kDocumentPackRows / longest_rows, 1, request.documents);

  MemoryPlan plan;
  plan.schedule = schedule;
  plan.budget = request.budget;
  plan.memory_rows = together * longest_rows;
  const int64_t rows = plan.memory_rows, positions = together * longest_positions;
  const int64_t targets = together * request.longest_target;
  const bool kept = schedule == EncodeSchedule::kKept;
  const bool held = schedule != EncodeSchedule::kStreamed && !request.attention_dropout;
  const int64_t window_positions = std::min(request.window, longest_positions);
  const int64_t pack_positions = std::min(positions, std::max(window_positions, kEncoderPackPositions));
  const int64_t graph_positions = kept ? positions : pack_positions;

  int64_t graph = graph_positions * encoder_graph_elements(config);
  if (request.attention_dropout) {  // scores, probabilities and their dropped copy
    graph += 3 * graph_positions * config.encoder_layers * config.encoder_attention_heads * window_positions;
  }
  const int64_t piece_rows = std::min<int64_t>(targets, 512);
  const int64_t row_scores = targets * config.decoder_attention_heads;
  const int64_t block_scores = std::min(longest_rows * row_scores, std::max(kBlockScores, 256 * row_scores));
  plan.parts = {
      {"program, libraries and data", std::max<int64_t>(0, resident_memory_bytes() - parameters * element)},
      {"weights", parameters * element},
      {"gradients", parameters * element},
      {"optimiser", parameters * element * request.optimizer_states},
      {"memory (encoder states)", rows * config.d_model * element},
      {"gradient of the memory", rows * config.d_model * element},
      {"keys and values of the decoder",
       held ? 2 * rows * config.d_model * config.decoder_layers * element : 0},
      {kept ? "encoder graphs, all windows" : "encoder graph, one pack of windows", graph * element},
      {"decoder graph", targets * decoder_graph_elements(config) * element},
      {"vocabulary: logits of a piece, gradient of the head",
       (2 * piece_rows * config.vocab_size + config.vocab_size * config.d_model) * element},
      {"scores of a block", held ? 0 : 4 * block_scores * element},
  };
  std::erase_if(plan.parts, [](const PlanPart& part) { return part.bytes == 0; });
  return plan;
}

}  // namespace

int64_t MemoryPlan::total() const {
  int64_t sum = 0;
  for (const PlanPart& part : parts) sum += part.bytes;
  return sum;
}

std::string format_bytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string MemoryPlan::describe() const {
  std::string text = std::string("memory plan, schedule ") + name(schedule) + ", largest pack " +
                     std::to_string(memory_rows) + " memory rows\n";
  char line[160];
  const auto add = [&](const std::string& label, const std::string& value) {
    std::snprintf(line, sizeof line, "  %-52s %12s\n", label.c_str(), value.c_str());
    text += line;
  };
  for (const PlanPart& part : parts) add(part.name, format_bytes(part.bytes));
  add("total", format_bytes(total()));
  if (budget) add("budget", format_bytes(*budget));
  return text;
}

MemoryPlan plan_memory(const models::BartModel& model, const PlanRequest& request) {
  const auto refuse_above = [](const MemoryPlan& plan, int64_t budget) {
    if (plan.total() <= budget) return;
    throw Error(
        ErrorKind::kBudget,
        {.what = "the memory budget can't be met",
         .where = "encoder.memory_budget",
         .expected = "at least " + format_bytes(plan.total()) + " under the schedule " + name(plan.schedule),
         .found = format_bytes(budget),
         .hint = "raise the budget, use schedule streamed or fewer documents a batch\n" + plan.describe()});
  };
  if (request.schedule != EncodeSchedule::kAuto) {
    MemoryPlan plan = plan_for(model, request, request.schedule);
    if (request.budget) refuse_above(plan, *request.budget);
    return plan;
  }
  const int64_t limit = request.budget.value_or(available_memory_bytes() / 10 * 7);
  MemoryPlan plan;
  for (const EncodeSchedule schedule :
       {EncodeSchedule::kKept, EncodeSchedule::kCached, EncodeSchedule::kStreamed}) {
    plan = plan_for(model, request, schedule);
    if (plan.total() <= limit) return plan;
  }
  if (request.budget) refuse_above(plan, *request.budget);
  return plan;  // without a budget the leanest schedule is tried whatever the machine
}

}  // namespace precis::memory

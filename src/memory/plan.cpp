// The memory plan of training.
#include "memory/plan.h"

#include <algorithm>
#include <cstdio>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/plan_terms.h"
#include "nn/device.h"

namespace precis::memory {

namespace {

// Elements of a pack that is scored and summarised, without any graph.
int64_t validation_elements(const CostModel& cost, const models::BartConfig& config,
                            const PlanRequest& request, bool streamed) {
  const PackShape pack = PackShape::largest(config, request.cost.window, *request.validation, cost.device());
  const int64_t encoder = encoder_call_elements(config, pack.call_positions);
  const int64_t loss = cost.block_elements(pack.longest_rows, pack.documents(), pack.longest_target,
                                           /*with_gradients=*/false) +
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

// The most that tensors may take within a limit of the whole.
int64_t tensors_within(int64_t limit, bool of_gpu) {
  const int64_t without_fixed = limit - plan_slack(0, of_gpu);
  return without_fixed - without_fixed / 9;  // x + x / 8 <= limit
}

}  // namespace

int64_t plan_slack(int64_t tensors, bool of_gpu) { return tensors / 8 + (int64_t{of_gpu ? 128 : 48} << 20); }

int64_t MemoryPlan::tensors() const {
  int64_t largest = 0;
  for (const PlanPhase& phase : phases) largest = std::max(largest, phase.bytes());
  return throughout.bytes() + largest;
}

std::string MemoryPlan::describe() const {
  std::string text = std::string(of_gpu ? "GPU " : "") + "memory plan, schedule " + name(way.schedule) +
                     ", largest pack " + std::to_string(shape.rows) + " memory rows" +
                     (way.spilled ? ", whose states go to a file\n" : "\n");
  char line[160];
  const auto retained = [&](int64_t positions, const char* how) {
    if (positions == 0 || positions >= shape.positions + (way.retained.lean > 0 ? 1 : 0)) return;
    std::snprintf(line, sizeof line, "  graphs retained %s of %ld of its %ld encoder positions\n", how,
                  static_cast<long>(positions), static_cast<long>(shape.positions));
    text += line;
  };
  retained(way.retained.full, "in full");
  retained(way.retained.lean, "in part");
  std::snprintf(line, sizeof line, "  %-56s %6.4g TFLOP\n", "arithmetic of its gradient", flops / 1e12);
  text += line;
  const auto add = [&](const std::string& label, int64_t bytes) {
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
  add("workspaces and what the allocator keeps", plan_slack(tensors(), of_gpu));
  add("total, with the largest phase", total());
  if (budget) add("budget", *budget);
  return text;
}

MemoryPlan plan_memory(const models::BartModel& model, const PlanRequest& request) {
  const CostModel cost(model, request.cost);
  int64_t weights = 0;  // bytes
  for (const auto& [name, tensor] : model.parameters()) weights += static_cast<int64_t>(tensor.nbytes());
  const int64_t resident = nn::resident_bytes(model.device());
  // What this process holds already is in the plan.
  const int64_t machine = nn::available_bytes(model.device()) + resident;
  const auto share = [&](int64_t percent) { return machine / request.processes / 100 * percent; };
  const int64_t limit = request.budget.value_or(share(70));

  MemoryPlan plan;
  plan.budget = request.budget;
  plan.of_gpu = model.device().is_cuda();
  plan.shape = PackShape::largest(model.config(), request.cost.window, request.training, model.device());
  plan.throughout = {"throughout",
                     {{plan.of_gpu ? "held beside them" : "program, libraries and data",
                       std::max<int64_t>(0, resident - weights)},
                      {"weights", weights},
                      {"gradients", weights},
                      {"optimiser", weights * request.optimizer_states}}};
  const int64_t room = std::max<int64_t>(0, tensors_within(limit, plan.of_gpu) - plan.throughout.bytes());
  if (request.schedule == EncodeSchedule::kAuto) {
    // What a run has taken it takes again, though other programs have a little more of the machine now, and
    // this one is a little larger: so a fresh run leaves some room.
    plan.step_bytes = room - room / 64;
    if (request.step_bytes) {
      const int64_t most =
          request.budget ? room
                         : std::max(room, tensors_within(share(85), plan.of_gpu) - plan.throughout.bytes());
      plan.step_bytes = std::min(most, *request.step_bytes);
    }
    plan.way = cost.fastest(plan.shape, *plan.step_bytes);
  } else {
    plan.way = way_of(request.schedule);
    plan.way.spilled = plan.way.schedule == EncodeSchedule::kTwoSweep && request.cost.may_spill &&
                       request.budget && cost.bytes(plan.shape, plan.way) > room;
  }
  plan.flops = cost.flops(plan.shape, plan.way);
  plan.phases = cost.phases(plan.shape, plan.way);
  if (request.validation) {
    const int64_t element = static_cast<int64_t>(c10::elementSize(model.activation_type()));
    const auto bytes = [&](bool streamed) {
      return validation_elements(cost, model.config(), request, streamed) * element;
    };
    plan.streamed_validation = bytes(false) > room;
    plan.phases.push_back(
        {"in validation", {{"memory, keys and values, beams", bytes(plan.streamed_validation)}}});
  }
  return plan;
}

void check_budget(const MemoryPlan& plan) {
  if (!plan.budget || plan.total() <= *plan.budget) return;
  throw Error(ErrorKind::kBudget,
              {.what = "the memory budget can't be met",
               .where = "encoder.memory_budget",
               .expected = "at least " + format_bytes(plan.total()) + " under the schedule " +
                           name(plan.way.schedule),
               .found = format_bytes(*plan.budget),
               .hint = std::string("raise the budget, or lower batch.documents, window or what "
                                   "validation does") +
                       (plan.step_bytes ? "" : ", or use the schedule auto")});
}

}  // namespace precis::memory

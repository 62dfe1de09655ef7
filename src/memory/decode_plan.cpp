// The memory plan of decoding.
#include "memory/decode_plan.h"

#include <algorithm>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/plan.h"
#include "memory/plan_terms.h"
#include "nn/device.h"

namespace precis::memory {

namespace {

// Of the largest encoder call.
int64_t call_positions(const DocumentPack& pack, at::Device device) {
  int64_t longest = 0, positions = 0;
  for (const auto& windows : pack.windows_B) {
    for (const Window& window : windows) {
      longest = std::max<int64_t>(longest, static_cast<int64_t>(window.ids.size()));
      positions += static_cast<int64_t>(window.ids.size());
    }
  }
  return std::min(std::max(longest, encoder_pack_positions(device)), 2 * positions);
}

}  // namespace

DecodePlan plan_decoding(const models::BartModel& model, const DocumentPack& pack,
                         const DecodeRequest& request) {
  const models::BartConfig& config = model.config();
  const int64_t element = static_cast<int64_t>(c10::elementSize(model.activation_type()));
  const int64_t rows = pack.size() * pack.max_rows, sequences = pack.size() * request.sequences;
  const int64_t states = rows * config.d_model;
  const int64_t encoding = states + encoder_call_elements(config, call_positions(pack, model.device()));
  const int64_t written = sequence_elements(config, sequences, request.max_length);
  const int64_t block = absorbed_block_elements(config, pack.max_rows, pack.size(), sequences);
  const int64_t resident = nn::resident_bytes(model.device());

  DecodePlan plan;
  plan.layers = config.decoder_layers;
  const auto tensors_with = [&](int64_t held) {
    const int64_t decoding =
        states + held_elements(config, rows, held) + written + (held < plan.layers ? block : 0);
    return std::max(encoding, decoding) * element;
  };
  const auto total_with = [&](int64_t held) {
    const int64_t all = resident + tensors_with(held);
    return all + plan_slack(all, model.device().is_cuda());
  };
  const int64_t machine = nn::available_bytes(model.device()) + resident;
  const int64_t limit = request.budget.value_or(machine / 10 * 7);
  plan.held_layers = plan.layers;
  while (plan.held_layers > 0 && total_with(plan.held_layers) > limit) --plan.held_layers;
  plan.tensors = tensors_with(plan.held_layers);
  plan.total = total_with(plan.held_layers);
  if (request.budget && plan.total > *request.budget) {
    throw Error(ErrorKind::kBudget,
                {.what = "the memory budget can't be met",
                 .where = "--memory-budget",
                 .expected = "at least " + format_bytes(plan.total) + ": " + format_bytes(resident) +
                             " for the program and the weights, " + format_bytes(states * element) +
                             " for the encoder's states of " + std::to_string(rows) + " rows, the rest for " +
                             "windows, beams and the allocator",
                 .found = format_bytes(*request.budget),
                 .hint = "raise the budget, or use fewer beams"});
  }
  return plan;
}

}  // namespace precis::memory

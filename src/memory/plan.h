// What training on a data set will hold, in bytes, before it starts, and what `auto` has room for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "memory/cost.h"
#include "memory/encode_schedule.h"
#include "models/bart/bart.h"

namespace precis::memory {

struct PlanGeneration {
  int64_t documents = 1;  // written at once, where there are so many
  int64_t num_beams = 1;
  int64_t max_length = 0;
};

struct PlanRequest {
  EncodeSchedule schedule = EncodeSchedule::kAuto;
  std::optional<int64_t>
      step_bytes;  // of an earlier plan: taken again under `auto` where there is room for it
  CostSettings cost;
  PlanData training;
  std::optional<PlanData> validation;
  std::optional<PlanGeneration> generation;  // of a validation that writes summaries
  int64_t optimizer_states = 2;              // tensors of the parameters' size that the optimiser keeps
  std::optional<int64_t> budget;             // bytes of the model's device
  int64_t processes = 1;                     // like this one on the machine, or on its GPU
};

// What comes on top of tensors of so many bytes: workspaces of the arithmetic library, and what the allocator
// keeps of what was given back. From measurements (docs/results/memory.md). On a GPU cuBLAS has a workspace
// of 32 MiB for each of the two threads that compute, forwards and backwards, and blocks are cut from larger
// ones.
int64_t plan_slack(int64_t tensors, bool of_gpu);

struct MemoryPlan {
  Way way;  // of the largest pack of documents
  PackShape shape;
  double flops = 0.0;                 // of its matrix products
  std::optional<int64_t> step_bytes;  // what a step may take beside what is held throughout; under `auto`
  bool streamed_validation = false;   // keys and values of the whole memory do not fit
  bool of_gpu = false;                // its memory, and not that of the machine
  PlanPhase throughout;
  std::vector<PlanPhase> phases;  // one after another, each beside what is held throughout
  std::optional<int64_t> budget;

  // With the largest of the phases.
  int64_t tensors() const;
  int64_t total() const { return tensors() + plan_slack(tensors(), of_gpu); }
  // A table for people, one part a line, and the total beside the budget.
  std::string describe() const;
};

// The bytes of the largest step: the program as it stands, weights, gradients, optimiser, what grows with the
// document, one pack of windows, the decoder; or of a validation, where that takes more. Under `auto` the
// fastest way that fits the budget, or 70 % of the memory that the machine has for it where none is given;
// the leanest where none fits. All of it is the memory of the device that the model is on (nn/device.h).
MemoryPlan plan_memory(const models::BartModel& model, const PlanRequest& request);

// Throws Error{kBudget} with the numbers where the plan does not meet its budget.
void check_budget(const MemoryPlan& plan);

}  // namespace precis::memory

// How many bytes of tensors a training step holds at once, by an allocator that counts, in each phase of it:
//   held_bytes MODEL DTYPE TARGETS SCHEDULE TOKENS...
// One JSON object a line and document length. Weights, gradients and what stood before the step are not
// counted.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "io/json.h"
#include "memory/cost.h"
#include "memory/gradient.h"
#include "memory/peak_meter.h"
#include "models/bart/bart.h"

namespace precis {

std::vector<int32_t> ids(int64_t count, int64_t vocabulary) {
  std::vector<int32_t> result;
  for (int64_t i = 0; i < count; ++i) result.push_back(static_cast<int32_t>(4 + i * 7919 % (vocabulary - 8)));
  return result;
}

void measure(const models::BartModel& model, memory::EncodeSchedule schedule, int64_t tokens,
             int64_t targets) {
  using memory::StepPhase;
  const int64_t vocabulary = model.config().vocab_size;
  const std::vector<memory::Example> examples = {
      {.document = {.text = ids(tokens, vocabulary), .query = {}}, .target = ids(targets, vocabulary)}};
  memory::GradientOptions options;
  options.way = memory::way_of(schedule);
  options.window = model.config().max_position_embeddings;
  PeakMeter& meter = PeakMeter::instance();
  int64_t peaks[3] = {};
  int phase = 0;
  options.progress = [&](StepPhase now, int64_t, int64_t) {
    if (static_cast<int>(now) == phase) return;
    peaks[phase] = meter.peak();
    meter.restart_peak();
    phase = static_cast<int>(now);
  };
  meter.reset();
  const auto began = std::chrono::steady_clock::now();
  memory::accumulate_gradient(model, examples, options);
  peaks[phase] = meter.peak();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const memory::CostModel cost(model, {.window = options.window});
  const memory::PackShape shape = memory::PackShape::largest(
      model.config(), options.window, {.longest_document = tokens, .longest_target = targets});
  std::printf("%s\n", dump_json({{"schedule", memory::name(schedule)},
                                 {"tokens", tokens},
                                 {"encoding", peaks[0]},
                                 {"decoding", peaks[1]},
                                 {"windows", peaks[2]},
                                 {"planned", cost.bytes(shape, options.way)},
                                 {"seconds", seconds}})
                          .c_str());
  std::fflush(stdout);
}

}  // namespace precis

int main(int argc, char** argv) {
  using namespace precis;
  if (argc < 6) {
    std::fprintf(stderr, "held_bytes MODEL DTYPE TARGETS SCHEDULE TOKENS...\n");
    return 2;
  }
  PeakMeter::instance();
  models::BartModel model = models::BartModel::load(argv[1], at::kFloat);
  if (std::string(argv[2]) == "bfloat16") model.compute_in(at::kBFloat16);
  model.set_requires_grad(true);
  for (const auto& [name, parameter] : model.parameters()) {
    at::Tensor(parameter).mutable_grad() = at::zeros_like(parameter);
  }
  for (int i = 5; i < argc; ++i) {
    measure(model, memory::parse_schedule(argv[4]), std::atoll(argv[i]), std::atoll(argv[3]));
  }
}

// Taking a checkpoint over.
#include "train/resume.h"

#include <cstdio>
#include <ctime>

namespace precis::train {

namespace fs = std::filesystem;

namespace {

// Whether the order of rows is another one, in which the checkpoint's place means nothing.
bool other_order(const TrainerState& before, const TrainerState& now) {
  return before.data_digest != now.data_digest || before.config.at("seed") != now.config.at("seed");
}

}  // namespace

std::string new_run_name(const fs::path& output) {
  std::timespec now = {};
  std::timespec_get(&now, TIME_UTC);
  std::tm utc = {};
  gmtime_r(&now.tv_sec, &utc);
  char text[32], fraction[16];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%S", &utc);
  // Two runs of one folder may begin in one second.
  std::snprintf(fraction, sizeof fraction, ".%09ldZ", now.tv_nsec);
  const std::string name = std::string(text) + fraction, newest = newest_run(output);
  return name > newest ? name : newest + "+";
}

std::optional<ResumePoint> find_resume_point(const std::string& resume, const fs::path& output,
                                             const LogSink& sink) {
  if (resume == "never") return std::nullopt;
  if (resume == "auto") return newest_checkpoint(output, sink);
  return open_checkpoint(resume);
}

TrainerState state_from(const ResumePoint& point, const TrainerState& now, const std::string& measure,
                        const fs::path& output, const std::vector<std::string>& allowed,
                        const LogSink& sink) {
  check_unchanged(point.state, now, allowed);
  TrainerState state = point.state;
  if (!is_newest(point, output)) state.run = new_run_name(output);
  state.model_digest = now.model_digest;
  state.tokenizer_digest = now.tokenizer_digest;
  state.data_digest = now.data_digest;
  state.config = now.config;
  if (other_order(point.state, now)) {
    state.sampler.position = 0;
    log(sink, LogLevel::kWarning,
        "the rows or their order are others: epoch " + std::to_string(state.sampler.epoch + 1) +
            " begins again");
  }
  if (state.best && !measure.empty() && state.best->measure != measure) {
    log(sink, LogLevel::kWarning,
        "validation measures something else than before: the best so far is forgotten");
    state.best.reset();
  }
  if (!measure.empty() && state.early_stopping.measure != measure) state.early_stopping = {};
  // It stayed in another folder, or another run has taken its place.
  if (state.best && !holds_checkpoint(output, state.best->step, state.best->run)) state.best.reset();
  return state;
}

bool keeps_optimizer_state(const ResumePoint& point, OptimizerName name) {
  const Json& before = point.state.config.at("optimizer.name");
  return before.is_string() &&
         state_tensors(optimizer_name(before.get<std::string>())) == state_tensors(name);
}

}  // namespace precis::train

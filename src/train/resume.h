// Where a run begins: fresh, or from a checkpoint, whose run it goes on with or leaves.
#pragma once

#include <optional>
#include <string>

#include "base/log.h"
#include "train/checkpoint.h"

namespace precis::train {

// The time of its beginning, or what sorts behind the newest run in `output` where the clock is behind it.
std::string new_run_name(const std::filesystem::path& output);

// `resume` is auto, never, or a checkpoint's directory. Throws Error{kModel}.
std::optional<ResumePoint> find_resume_point(const std::string& resume, const std::filesystem::path& output,
                                             const LogSink& sink);

// The state that goes on from `point`, given this session's `now`: its digests, its configuration, what a
// best is measured by (nothing where this session has no validation). It has the name of the checkpoint's run
// where that is the run and the checkpoint that `auto` takes in `output`, else a new one: so `auto` follows
// it from then on, and not what was given up. Says through `sink` what begins anew. Throws what
// check_unchanged() throws.
TrainerState state_from(const ResumePoint& point, const TrainerState& now, const std::string& measure,
                        const std::filesystem::path& output, const std::vector<std::string>& allowed,
                        const LogSink& sink);

// Whether an optimiser of that name takes the state of the checkpoint's.
bool keeps_optimizer_state(const ResumePoint& point, OptimizerName name);

}  // namespace precis::train

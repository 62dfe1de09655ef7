// The settings of sampling.
#pragma once

#include <optional>

#include "base/log.h"
#include "generate/generation_config.h"
#include "generate/generation_values.h"

namespace precis::generate {

// Nothing where do_sample is not set; filters that are set all the same are then said through `sink`, as
// transformers does. `seed` is looked for in `options` alone: no model's file has one. Throws as
// resolve_generation_config().
std::optional<Sampling> resolve_sampling(const GenerationValues& values, const Json& options,
                                         const LogSink& sink);

}  // namespace precis::generate

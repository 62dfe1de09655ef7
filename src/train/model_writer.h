// The files that make a directory a model which transformers loads, as init, convert and checkpoints write
// them.
#pragma once

#include <optional>
#include <string>

#include "io/atomic_directory.h"
#include "models/bart/bart.h"
#include "text/tokenizer.h"

namespace precis::train {

// Stages config.json (the model's own, with the type of its weights, unknown keys kept), model.safetensors,
// and what there is of generation_config.json (its text) and the tokenizer's files (as they were read).
// Error{kIo}.
void write_model(AtomicDirectory& directory, const models::BartModel& model,
                 const std::optional<std::string>& generation_config, const Tokenizer* tokenizer);

}  // namespace precis::train

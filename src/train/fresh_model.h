// A model with fresh weights: its settings completed from its tokenizer, and its directory.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/file_system.h"
#include "base/stop.h"
#include "io/json.h"
#include "models/bart/bart_config.h"
#include "text/tokenizer.h"
#include "train/init_config.h"

namespace precis::train {

// What the directory's two configurations are to say.
struct FreshModel {
  models::BartConfig model;
  Json generation;
};

// Takes the vocabulary's size, the special tokens and the spread of the weights from the tokenizer and the
// width where the configuration names none. Throws Error{kConfig} for whatever a model can't be made of.
FreshModel make_fresh_model(InitConfig config, const Tokenizer& tokenizer);

// Before anything is allocated: Error{kBudget} where the weights fit neither `budget` (bytes) nor, without
// one, the machine's memory.
void check_weights_fit(const models::BartConfig& model, at::ScalarType dtype, std::optional<int64_t> budget);

// Draws the weights and commits the directory; the same seed gives the same bytes. Error{kIo}, among others
// where `directory` is there already; Error with the stop's reason.
void write_fresh_model(FileSystem& files, const std::filesystem::path& directory, const FreshModel& fresh,
                       const Tokenizer& tokenizer, uint64_t seed, at::ScalarType dtype,
                       const StopToken* stop);

}  // namespace precis::train

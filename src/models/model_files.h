// A BART as the files of a Hugging Face model directory.
#pragma once

#include <filesystem>

#include "base/file_system.h"
#include "base/log.h"
#include "io/json.h"
#include "models/bart/bart.h"

namespace precis::models {

// As BartModel::load, and tells of weights that are converted or left out.
BartModel load_model(const std::filesystem::path& directory, at::ScalarType dtype, const LogSink& sink);

// config.json: the configuration with the type of the weights, which transformers loads them in.
Json saved_config(const BartModel& model);

// model.safetensors, in the model's own type, written, synced and closed; `path` must not exist. Error{kIo}.
void write_weights(FileSystem& files, const BartModel& model, const std::filesystem::path& path);

}  // namespace precis::models

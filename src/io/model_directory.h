// The JSON files of a Hugging Face model directory.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "io/json.h"

namespace precis {

// config.json, an object. Error{kModel} that tells a missing directory from a file and from a directory that
// is no model.
Json read_model_config(const std::filesystem::path& directory);
// generation_config.json, an object; nothing where there is none.
std::optional<Json> read_generation_config(const std::filesystem::path& directory);

}  // namespace precis

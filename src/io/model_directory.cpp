// Finds and reads config.json and generation_config.json.
#include "io/model_directory.h"

#include <system_error>
#include <utility>

#include "base/error.h"
#include "io/read_file.h"

namespace precis {

namespace {

Json read_object(const std::filesystem::path& path) {
  Json value = read_json_file(path, ErrorKind::kModel);
  if (!value.is_object()) {
    throw Error(ErrorKind::kModel, {.what = "bad file",
                                    .where = path.string(),
                                    .expected = "a JSON object",
                                    .found = value.type_name()});
  }
  return value;
}

}  // namespace

Json read_model_config(const std::filesystem::path& directory) {
  const auto refuse = [&](std::string what, std::string hint) {
    throw Error(ErrorKind::kModel,
                {.what = std::move(what), .where = directory.string(), .hint = std::move(hint)});
  };
  if (!has_entry(directory)) {
    refuse("no such model directory", "a model is a directory with config.json, weights and a tokenizer");
  }
  std::error_code ignored;
  if (!std::filesystem::is_directory(directory, ignored)) {
    refuse("not a model directory", "give the directory that holds config.json");
  }
  if (!has_entry(directory / "config.json")) {
    refuse("no config.json in the model directory", "is this the directory of a model?");
  }
  return read_object(directory / "config.json");
}

std::optional<Json> read_generation_config(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "generation_config.json";
  if (!has_entry(path)) return std::nullopt;
  return read_object(path);
}

}  // namespace precis

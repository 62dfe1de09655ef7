// Collects and verifies what an inspection reports.
#include "cli/inspect_report.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "generate/generation_config.h"
#include "io/atomic_directory.h"
#include "io/model_directory.h"
#include "io/read_file.h"
#include "io/weight_files.h"
#include "models/bart/bart.h"
#include "models/weights.h"
#include "text/tokenizer.h"
#include "train/checkpoint.h"

namespace precis::cli {

namespace {

namespace fs = std::filesystem;

Json weights_report(const WeightFiles& files) {
  Json names = Json::array(), tensors = Json::array(), by_type = Json::object();
  for (const WeightFile& file : files.files()) names.push_back(fs::path(file.path()).filename().string());
  for (const auto& [file, info] : files.entries()) {
    const char* const type = name(info->type);
    Json& group = by_type[type];
    if (group.is_null()) group = {{"tensors", 0}, {"elements", 0}, {"bytes", 0}};
    group["tensors"] = group["tensors"].get<int64_t>() + 1;
    tensors.push_back({{"name", info->name}, {"type", type}, {"shape", info->shape}, {"bytes", info->bytes}});
  }
  int64_t total = 0;
  for (const auto& [file, info] : files.distinct()) {
    Json& group = by_type[name(info->type)];
    group["elements"] = group["elements"].get<int64_t>() + info->bytes / element_size(info->type);
    group["bytes"] = group["bytes"].get<int64_t>() + info->bytes;
    total += info->bytes;
  }
  return {{"files", names},
          {"bytes", total},
          {"by_type", by_type},
          {"metadata", files.metadata()},
          {"tensors", tensors}};
}

// The names that mean one tensor, and those under which the files hold it.
Json tied_report(const models::BartConfig& config, const WeightFiles& files) {
  Json all = Json::array(), stored = Json::array();
  if (!config.tie_word_embeddings) return {{"names", all}, {"stored", stored}};
  std::vector<std::string> names = {models::kSharedEmbedding};
  names.insert(names.end(), std::begin(models::kTiedEmbeddings), std::end(models::kTiedEmbeddings));
  for (const std::string& name : names) {
    all.push_back(name);
    const std::string bare = name.starts_with("model.") ? name.substr(6) : name;
    if (files.find(name) != nullptr) {
      stored.push_back(name);
    } else if (files.find(bare) != nullptr) {
      stored.push_back(bare);
    }
  }
  return {{"names", all}, {"stored", stored}};
}

Json tokenizer_report(const Tokenizer& tokenizer) {
  Json files = Json::array(), special = Json::object();
  for (const TokenizerFile& file : tokenizer.files()) files.push_back(file.name);
  const auto add = [&](const char* key, std::optional<int32_t> id) {
    special[key] = id ? Json{{"id", *id}, {"token", tokenizer.id_to_token(*id)}} : Json();
  };
  add("bos_token", tokenizer.bos());
  add("eos_token", tokenizer.eos());
  add("pad_token", tokenizer.pad());
  add("unk_token", tokenizer.unk());
  add("mask_token", tokenizer.mask());
  return {{"size", tokenizer.size()},
          {"id_limit", tokenizer.id_limit()},
          {"files", files},
          {"special_tokens", special}};
}

Json generation_report(const fs::path& directory, const models::BartConfig& model) {
  const generate::GenerationConfig config =
      generate::resolve_generation_config(directory, model, Json::object(), {});
  const Json early = config.early_stopping == generate::EarlyStopping::kNever
                         ? Json("never")
                         : Json(config.early_stopping == generate::EarlyStopping::kTrue);
  return {{"num_beams", config.num_beams},
          {"length_penalty", config.length_penalty},
          {"early_stopping", early},
          {"no_repeat_ngram_size", config.no_repeat_ngram_size},
          {"min_length", config.min_length},
          {"max_length", config.max_length},
          {"decoder_start_token_id", config.decoder_start_token_id},
          {"forced_bos_token_id", config.forced_bos_token_id ? Json(*config.forced_bos_token_id) : Json()},
          {"forced_eos_token_id", config.forced_eos_token_id},
          {"eos_token_id", config.eos_token_id}};
}

Json checkpoint_report(const fs::path& directory) {
  const fs::path path = directory / train::kStateName;
  const train::TrainerState state =
      train::TrainerState::from_json(read_json_file(path, ErrorKind::kModel), path.string());
  Json json = state.to_json();
  json.erase("format_version");
  return json;
}

void verify_vocabulary(const Tokenizer& tokenizer, const models::BartConfig& config, const fs::path& path) {
  if (tokenizer.id_limit() <= config.vocab_size) return;
  throw Error(ErrorKind::kModel, {.what = "the tokenizer has ids that the embedding has no rows for",
                                  .where = path.string(),
                                  .expected = "ids below vocab_size = " + std::to_string(config.vocab_size),
                                  .found = "ids up to " + std::to_string(tokenizer.id_limit() - 1)});
}

void inspect_model(const fs::path& path, bool verify, const StopToken* stop, Json& report) {
  const bool has_manifest = has_entry(path / kManifestName);
  // Digests first: they name the damaged file whatever else its damage would lead to.
  Json manifest;
  if (has_manifest) manifest = verify ? verify_directory(path) : read_manifest(path);
  const Json raw = read_model_config(path);
  const models::BartConfig config = models::BartConfig::from_json(raw, (path / "config.json").string());
  const WeightFiles weights = WeightFiles::open(path);
  const bool is_checkpoint = has_entry(path / train::kStateName);

  report["kind"] = is_checkpoint ? "checkpoint" : "model";
  report["model_type"] = raw["model_type"];
  report["config"] = config.to_json();
  report["parameters"] = config.parameter_count();
  report["weights"] = weights_report(weights);
  report["tied"] = tied_report(config, weights);
  report["tokenizer"] = nullptr;
  if (Tokenizer::is_there(path)) {
    const Tokenizer tokenizer = Tokenizer::load(path);
    if (verify) verify_vocabulary(tokenizer, config, path);
    report["tokenizer"] = tokenizer_report(tokenizer);
  }
  report["generation"] = generation_report(path, config);
  report["manifest"] = std::move(manifest);
  std::optional<WeightFiles> optimizer;
  if (is_checkpoint) {
    report["checkpoint"] = checkpoint_report(path);
    optimizer = WeightFiles::open_file(path / train::kOptimizerName);
    report["optimizer"] = weights_report(*optimizer);
  }
  if (!verify) return;
  int64_t bytes = models::check_finite(weights, stop);
  if (optimizer) bytes += models::check_finite(*optimizer, stop);
  models::LoadNotes notes;
  models::BartModel::load(path, at::kFloat, &notes);
  report["verified"] = {{"weight_bytes", bytes}, {"digests", has_manifest}, {"unexpected", notes.unexpected}};
}

void inspect_weights(const fs::path& path, bool verify, const StopToken* stop, Json& report) {
  const WeightFiles weights = WeightFiles::open_file(path);
  report["kind"] = "weights";
  report["weights"] = weights_report(weights);
  if (verify) report["verified"] = {{"weight_bytes", models::check_finite(weights, stop)}};
}

void inspect_tokenizer(const fs::path& path, bool verify, Json& report) {
  const bool has_manifest = has_entry(path / kManifestName);
  Json manifest;
  if (has_manifest) manifest = verify ? verify_directory(path) : read_manifest(path);
  report["kind"] = "tokenizer";
  report["tokenizer"] = tokenizer_report(Tokenizer::load(path));
  report["manifest"] = std::move(manifest);
  // Loading has read and checked all of it.
  if (verify) report["verified"] = {{"files", report["tokenizer"]["files"]}, {"digests", has_manifest}};
}

// A model whose config.json is lost is one by its manifest.
bool is_model(const fs::path& path) {
  if (has_entry(path / "config.json")) return true;
  return has_entry(path / kManifestName) && read_manifest(path)["files"].contains("config.json");
}

[[noreturn]] void nothing_to_inspect(const fs::path& path) {
  const bool is_run = has_entry(path / "latest");
  throw Error(
      ErrorKind::kModel,
      {.what =
           has_entry(path) ? "neither a model, a checkpoint nor a tokenizer" : "no such file or directory",
       .where = path.string(),
       .expected = "a directory with config.json, or tokenizer.json, or vocab.json and merges.txt; or a "
                   ".safetensors or .bin file",
       .hint = is_run ? "it holds checkpoints: inspect " + (path / "latest").string() : ""});
}

}  // namespace

Json inspect_report(const fs::path& path, bool verify, const StopToken* stop) {
  std::error_code ignored;
  Json report = {{"kind", nullptr}, {"path", path.string()}, {"verified", nullptr}};
  if (!has_entry(path)) nothing_to_inspect(path);
  if (!fs::is_directory(path, ignored)) {
    inspect_weights(path, verify, stop, report);
  } else if (is_model(path)) {
    inspect_model(path, verify, stop, report);
  } else if (Tokenizer::is_there(path)) {
    inspect_tokenizer(path, verify, report);
  } else {
    nothing_to_inspect(path);
  }
  return report;
}

}  // namespace precis::cli

// Finds, checks and opens the safetensors files of a model directory.
#include "io/weight_files.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "io/json.h"

namespace precis {

namespace {

using Path = std::filesystem::path;

[[noreturn]] void refuse_shard(const Path& index, const Json& shard, std::string what) {
  throw Error(ErrorKind::kModel,
              {.what = std::move(what), .where = index.string() + ": weight_map", .found = shown(shard)});
}

bool lies_in(const Path& file, const Path& folder) {
  const auto [end, ignored] = std::mismatch(folder.begin(), folder.end(), file.begin(), file.end());
  return end == folder.end();
}

// The shard's path, once its name and what it resolves to are safe to open.
Path checked_shard(const Path& directory, const Path& index, const std::string& shard) {
  if (shard.empty() || shard == "." || shard == ".." || shard.find('/') != std::string::npos ||
      shard.find('\0') != std::string::npos) {
    refuse_shard(index, shard, "a shard must be the plain name of a file in the model directory");
  }
  std::error_code problem;
  const Path folder = std::filesystem::canonical(directory, problem);
  const Path file = std::filesystem::canonical(directory / shard, problem);
  if (problem) refuse_shard(index, shard, "missing shard");
  if (!std::filesystem::is_regular_file(file, problem))
    refuse_shard(index, shard, "a shard that is no regular file");
  // The Hugging Face cache keeps the files of models--org--name/snapshots/REV as links to ../../blobs/DIGEST.
  const bool is_snapshot = folder.parent_path().filename() == "snapshots";
  const bool in_cache = is_snapshot && lies_in(file, folder.parent_path().parent_path() / "blobs");
  if (!lies_in(file, folder) && !in_cache) {
    refuse_shard(index, shard, "a shard that is a link out of the model directory");
  }
  return directory / shard;
}

std::map<std::string, std::string> read_weight_map(const Path& index) {
  const Json root = read_json_file(index, ErrorKind::kModel);
  const auto map = root.is_object() ? root.find("weight_map") : root.end();
  if (map == root.end() || !map->is_object()) {
    throw Error(
        ErrorKind::kModel,
        {.what = "bad index", .where = index.string(), .expected = "an object 'weight_map' of file names"});
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string()) refuse_shard(index, shard, "a shard's name must be a string");
    shard_of[name] = shard.get<std::string>();
  }
  return shard_of;
}

}  // namespace

WeightFiles::WeightFiles(std::vector<SafetensorsFile> files) : files_(std::move(files)) {
  for (const SafetensorsFile& file : files_) {
    for (const WeightInfo& info : file.weights()) {
      const auto [earlier, is_new] = entries_.try_emplace(info.name, Entry{&file, &info});
      if (!is_new) {
        throw Error(ErrorKind::kModel,
                    {.what = "weight '" + info.name + "' also in " + earlier->second.file->path(),
                     .where = file.path()});
      }
    }
    metadata_.insert(file.metadata().begin(), file.metadata().end());
  }
}

WeightFiles WeightFiles::open_file(const Path& path) {
  std::vector<SafetensorsFile> files;
  files.push_back(SafetensorsFile::open(path));
  return WeightFiles(std::move(files));
}

WeightFiles WeightFiles::open(const Path& model_directory) {
  std::error_code ignored;
  const Path single = model_directory / "model.safetensors";
  if (std::filesystem::exists(single, ignored)) return open_file(single);
  const Path index = model_directory / "model.safetensors.index.json";
  if (!std::filesystem::exists(index, ignored)) {
    const bool pickle = std::filesystem::exists(model_directory / "pytorch_model.bin", ignored);
    throw Error(ErrorKind::kModel, {.what = "no weights in the model directory",
                                    .where = model_directory.string(),
                                    .expected = "model.safetensors or model.safetensors.index.json",
                                    .found = pickle ? "pytorch_model.bin" : "",
                                    .hint = pickle ? "save it again as safetensors" : ""});
  }
  const std::map<std::string, std::string> shard_of = read_weight_map(index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  std::vector<Path> paths;
  for (const std::string& shard : shards) paths.push_back(checked_shard(model_directory, index, shard));

  std::vector<SafetensorsFile> files;
  for (const Path& path : paths) {
    files.push_back(SafetensorsFile::open(path));
    for (const WeightInfo& info : files.back().weights()) {
      const auto mapped = shard_of.find(info.name);
      if (mapped == shard_of.end() || mapped->second != path.filename()) {
        throw Error(ErrorKind::kModel,
                    {.what = "weight '" + info.name + "' is not what the index says of this file",
                     .where = path.string()});
      }
    }
  }
  WeightFiles result(std::move(files));
  for (const auto& [name, shard] : shard_of) {
    if (result.find(name) == nullptr) {
      throw Error(ErrorKind::kModel, {.what = "weight '" + name + "' is missing from its shard",
                                      .where = (model_directory / shard).string()});
    }
  }
  return result;
}

std::vector<WeightFiles::Entry> WeightFiles::entries() const {
  std::vector<Entry> all;
  for (const auto& [name, entry] : entries_) all.push_back(entry);
  return all;
}

std::vector<std::string> WeightFiles::names() const {
  std::vector<std::string> all;
  for (const auto& [name, entry] : entries_) all.push_back(name);
  return all;
}

const WeightInfo* WeightFiles::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : found->second.info;
}

const std::string& WeightFiles::where() const {
  static const std::string kNothing = "model";
  return files_.empty() ? kNothing : files_.front().path();
}

const WeightFiles::Entry& WeightFiles::entry(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    throw Error(ErrorKind::kModel, {.what = "no weight '" + std::string(name) + '\'', .where = where()});
  }
  return found->second;
}

const std::string& WeightFiles::path_of(std::string_view name) const { return entry(name).file->path(); }

void WeightFiles::read(std::string_view name, void* destination, size_t size) const {
  entry(name).file->read(name, destination, size);
}

void WeightFiles::read_part(std::string_view name, int64_t offset, void* destination, size_t size) const {
  const Entry& found = entry(name);
  found.file->read_part(*found.info, offset, destination, size);
}

}  // namespace precis

// Finds, checks and opens the weight files of a model directory.
#include "io/weight_files.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "io/json.h"
#include "io/read_file.h"
#include "io/safetensors.h"
#include "io/torch_file.h"

namespace precis {

namespace {

using Path = std::filesystem::path;

struct Format {
  const char* single;
  const char* index;
  WeightFile (*open)(const Path&);
};

// In the order in which transformers looks for them.
constexpr Format kFormats[] = {
    {"model.safetensors", "model.safetensors.index.json", open_safetensors},
    {"pytorch_model.bin", "pytorch_model.bin.index.json", open_torch_file},
};

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
  if (shard_of.empty()) {
    throw Error(ErrorKind::kModel, {.what = "bad index: it names no weight", .where = index.string()});
  }
  return shard_of;
}

// The shards of an index, each with just the weights that the index says.
std::vector<WeightFile> open_shards(const Path& directory, const Format& format) {
  const Path index = directory / format.index;
  const std::map<std::string, std::string> shard_of = read_weight_map(index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  std::vector<Path> paths;
  for (const std::string& shard : shards) paths.push_back(checked_shard(directory, index, shard));

  std::vector<WeightFile> files;
  std::map<std::string, const WeightFile*> file_of;
  files.reserve(paths.size());
  for (const Path& path : paths) {
    files.push_back(format.open(path));
    file_of[path.filename().string()] = &files.back();
    for (const WeightInfo& info : files.back().weights()) {
      const auto mapped = shard_of.find(info.name);
      if (mapped == shard_of.end() || mapped->second != path.filename()) {
        throw Error(ErrorKind::kModel,
                    {.what = "weight '" + info.name + "' is not what the index says of this file",
                     .where = path.string()});
      }
    }
  }
  for (const auto& [name, shard] : shard_of) {
    if (file_of[shard]->find(name) == nullptr) {
      throw Error(ErrorKind::kModel, {.what = "weight '" + name + "' is missing from its shard",
                                      .where = (directory / shard).string()});
    }
  }
  return files;
}

}  // namespace

WeightFiles::WeightFiles(std::vector<WeightFile> files) : files_(std::move(files)) {
  for (const WeightFile& file : files_) {
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
  const std::string extension = path.extension().string();
  const bool is_torch = extension == ".bin" || extension == ".pt" || extension == ".pth";
  std::vector<WeightFile> files;
  files.push_back(is_torch ? open_torch_file(path) : open_safetensors(path));
  return WeightFiles(std::move(files));
}

WeightFiles WeightFiles::open(const Path& model_directory) {
  std::string names;
  for (const Format& format : kFormats) {
    const Path single = model_directory / format.single;
    if (has_entry(single)) {
      std::vector<WeightFile> files;
      files.push_back(format.open(single));
      return WeightFiles(std::move(files));
    }
    if (has_entry(model_directory / format.index)) return WeightFiles(open_shards(model_directory, format));
    for (const char* name : {format.single, format.index})
      names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(ErrorKind::kModel, {.what = "no weights in the model directory",
                                  .where = model_directory.string(),
                                  .expected = "one of " + names});
}

std::vector<WeightFiles::Entry> WeightFiles::entries() const {
  std::vector<Entry> all;
  for (const auto& [name, entry] : entries_) all.push_back(entry);
  return all;
}

std::vector<WeightFiles::Entry> WeightFiles::distinct() const {
  std::vector<Entry> all = entries();
  std::set<std::tuple<const WeightFile*, int64_t, int64_t, WeightType>> seen;
  std::erase_if(all, [&](const Entry& entry) {
    return !seen.emplace(entry.file, entry.info->begin, entry.info->bytes, entry.info->type).second;
  });
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

const std::string& WeightFiles::where() const { return files_.front().path(); }

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

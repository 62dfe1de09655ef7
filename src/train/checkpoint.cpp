// Writing, finding and reading checkpoints.
#include "train/checkpoint.h"

#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/error.h"
#include "io/atomic_directory.h"
#include "io/model_directory.h"
#include "io/safetensors.h"
#include "models/weights.h"
#include "train/model_writer.h"
#include "train/output_folder.h"

namespace precis::train {

namespace fs = std::filesystem;

namespace {

void write_optimizer(FileSystem& files, const Optimizer& optimizer, const fs::path& path) {
  std::vector<at::Tensor> held;  // keeps the bytes that the list below borrows
  std::vector<WeightBytes> weights;
  for (const auto& [name, tensor] : optimizer.state()) {
    held.push_back(tensor.cpu());
    weights.push_back({name, models::weight_type(tensor.scalar_type()), tensor.sizes().vec(),
                       held.back().const_data_ptr()});
  }
  write_safetensors(files, path, std::move(weights));
}

TrainerState read_state(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kStateName;
  return TrainerState::from_json(read_json_file(path, ErrorKind::kModel), path.string());
}

// A checkpoint that this user may not read is not a damaged one, to be passed over and replaced.
void require_permission(const fs::path& checkpoint) {
  const auto require = [](const fs::path& path, int access_mode) {
    if (access(path.c_str(), access_mode) == 0 || errno != EACCES) return;
    throw Error(ErrorKind::kModel, {.what = "no permission to read this checkpoint",
                                    .where = path.string(),
                                    .hint = "mend it, or train into another folder"});
  };
  require(checkpoint, R_OK | X_OK);
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoint)) require(entry.path(), R_OK);
}

// The state of each checkpoint directory whose trainer.json can be read, newest step first.
std::vector<ResumePoint> readable(const fs::path& folder, const LogSink& sink) {
  std::vector<ResumePoint> points;
  for (const CheckpointEntry& entry : list_checkpoints(folder)) {
    require_permission(entry.path);
    try {
      points.push_back({entry.path, read_state(entry.path)});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kModel) throw;
      log(sink, LogLevel::kWarning,
          "passing over the damaged checkpoint " + entry.path.string() + ": " + error.what());
    }
  }
  return points;
}

std::string newest_of(const std::vector<ResumePoint>& points) {
  std::string newest;
  for (const ResumePoint& point : points) newest = std::max(newest, point.state.run);
  return newest;
}

std::vector<ResumePoint> of_newest_run(const fs::path& folder, const LogSink& sink) {
  if (!fs::is_directory(folder)) return {};
  std::vector<ResumePoint> points = readable(folder, sink);
  const std::string newest = newest_of(points);
  std::erase_if(points, [&](const ResumePoint& point) { return point.state.run != newest; });
  return points;
}

// The first whole one. Tells of those before it.
std::optional<ResumePoint> first_whole(const std::vector<ResumePoint>& points, const LogSink& sink) {
  for (const ResumePoint& point : points) {
    try {
      return open_checkpoint(point.path);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kModel) throw;
      log(sink, LogLevel::kWarning,
          "FALLING BACK: the checkpoint " + point.path.string() +
              " is damaged, the one before it is used: " + error.what());
    }
  }
  return std::nullopt;
}

void link_to(FileSystem& files, const fs::path& folder, const char* link, int64_t step) {
  replace_link(files, checkpoint_name(step), folder / link);
}

}  // namespace

fs::path save_checkpoint(FileSystem& files, const fs::path& folder, const CheckpointParts& parts,
                         const TrainerState& state) {
  const fs::path target = folder / checkpoint_name(state.step);
  AtomicDirectory directory(files, target);
  write_model(directory, parts.model, pretty_json(parts.generation_config), &parts.tokenizer);
  write_optimizer(directory.files(), parts.optimizer, directory.stage() / kOptimizerName);
  directory.write(kStateName, pretty_json(state.to_json()));
  directory.commit({{"step", state.step},
                    {"config_digest", sha256(state.config.dump())},
                    {"tokenizer_digest", state.tokenizer_digest},
                    {"torch_version", TORCH_VERSION}},
                   /*replace=*/true);
  link_to(files, folder, "latest", state.step);
  if (state.best) {
    link_to(files, folder, "best", state.best->step);
  } else if (fs::is_symlink(folder / "best")) {
    files.remove(folder / "best");  // another run's
  }
  return target;
}

void prune_checkpoints(FileSystem& files, const fs::path& folder, const TrainerState& state, int64_t keep) {
  int64_t kept = 0;
  for (const ResumePoint& point : readable(folder, {})) {
    if (point.state.run != state.run) continue;
    if (kept < keep || point.state.step == state.step) {
      ++kept;
      continue;
    }
    if (state.best && point.state.step == state.best->step) continue;
    // Out of the way in one step first: a half-removed directory must not look like a checkpoint.
    const fs::path aside = temporary_beside(point.path);
    files.rename(point.path, aside);
    remove_tree(files, aside);
  }
}

ResumePoint open_checkpoint(const fs::path& path) {
  verify_directory(path);
  return {path, read_state(path)};
}

std::optional<ResumePoint> newest_checkpoint(const fs::path& folder, const LogSink& sink) {
  if (std::optional<ResumePoint> point = first_whole(of_newest_run(folder, sink), sink)) return point;
  if (!fs::is_directory(folder) || list_checkpoints(folder).empty()) return std::nullopt;
  throw Error(ErrorKind::kModel,
              {.what = "no checkpoint of the newest run in this folder is whole",
               .where = folder.string(),
               .hint = "name another with --resume PATH, or start again with --resume never"});
}

bool is_newest(const ResumePoint& point, const fs::path& folder) {
  const std::optional<ResumePoint> newest = first_whole(of_newest_run(folder, {}), {});
  return newest && fs::equivalent(newest->path, point.path);
}

std::string newest_run(const fs::path& folder) {
  return fs::is_directory(folder) ? newest_of(readable(folder, {})) : "";
}

bool holds_checkpoint(const fs::path& folder, int64_t step, const std::string& run) {
  try {
    return read_state(folder / checkpoint_name(step)).run == run;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kModel) throw;
    return false;
  }
}

void load_optimizer(Optimizer& optimizer, const ResumePoint& point) {
  const fs::path path = point.path / kOptimizerName;
  const WeightFiles files = WeightFiles::open_file(path);
  NamedTensors state;
  for (const WeightFiles::Entry& entry : files.entries()) {
    const WeightInfo& info = *entry.info;
    if (info.type != WeightType::kF32 && info.type != WeightType::kF64) {
      throw Error(ErrorKind::kModel, {.what = "tensor '" + info.name + "' has a type that no optimiser keeps",
                                      .where = path.string(),
                                      .expected = "F32 or F64",
                                      .found = name(info.type)});
    }
    const at::Tensor tensor = at::empty(info.shape, info.type == WeightType::kF32 ? at::kFloat : at::kDouble);
    entry.file->read(info.name, tensor.mutable_data_ptr(), tensor.nbytes());
    state.emplace_back(info.name, tensor);
  }
  optimizer.load_state(state, point.state.optimizer_steps, path.string());
}

}  // namespace precis::train

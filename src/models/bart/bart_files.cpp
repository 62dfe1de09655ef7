// BART from and to the files of a model directory.
#include "io/safetensors.h"
#include "models/model_files.h"
#include "models/weights.h"

namespace precis::models {

namespace {

// BartForConditionalGeneration saves `model.x`, a bare BartModel saves `x`.
std::vector<std::string> file_names(const std::string& name) {
  constexpr std::string_view kPrefix = "model.";
  if (!name.starts_with(kPrefix)) return {name};
  return {name, name.substr(kPrefix.size())};
}

bool is_ignored(const std::string& name) {
  return name.ends_with("encoder.version") || name.ends_with("decoder.version");
}

}  // namespace

BartModel BartModel::load(const std::filesystem::path& directory, at::ScalarType dtype, LoadNotes* notes) {
  const BartConfig config = BartConfig::load(directory);
  const WeightFiles files = WeightFiles::open(directory);
  WeightReader reader(files, dtype);
  const auto source = [&](const std::string& name, at::IntArrayRef shape) {
    if (name == "final_logits_bias") {
      const at::Tensor bias = reader.take_if_present({name}, shape);
      return bias.defined() ? bias : at::zeros(shape, dtype);
    }
    std::vector<std::string> names = file_names(name);
    if (name == kSharedEmbedding && config.tie_word_embeddings) {
      for (const char* other : kTiedEmbeddings) {
        for (const std::string& alternative : file_names(other)) names.push_back(alternative);
      }
    }
    return reader.take(names, shape);
  };
  BartModel model(config, dtype, source);
  reader.check_complete();
  if (notes != nullptr) {
    notes->unexpected = reader.unexpected();
    std::erase_if(notes->unexpected, is_ignored);
    for (const WeightFiles::Entry& entry : files.entries()) {
      if (entry.info->type != weight_type(dtype)) notes->other_types.insert(precis::name(entry.info->type));
    }
  }
  return model;
}

BartModel load_model(const std::filesystem::path& directory, at::ScalarType dtype, const LogSink& sink) {
  const auto list = [](const auto& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
  };
  LoadNotes notes;
  BartModel model = BartModel::load(directory, dtype, &notes);
  if (!notes.other_types.empty()) {
    log(sink, LogLevel::kInfo,
        directory.string() + ": weights of type " + list(notes.other_types) + " are read as " +
            dtype_name(dtype));
  }
  if (!notes.unexpected.empty()) {
    log(sink, LogLevel::kWarning,
        directory.string() + ": weights that mean nothing to a BART are left out: " + list(notes.unexpected));
  }
  return model;
}

Json saved_config(const BartModel& model) {
  Json config = model.config().to_json();
  config["dtype"] = dtype_name(model.dtype());
  return config;
}

void write_weights(FileSystem& files, const BartModel& model, const std::filesystem::path& path) {
  std::vector<at::Tensor> held;  // keeps the bytes that the list below borrows
  std::vector<WeightBytes> weights;
  for (const auto& [name, tensor] : model.state()) {
    held.push_back(tensor.detach().cpu().contiguous());
    weights.push_back(
        {name, weight_type(tensor.scalar_type()), tensor.sizes().vec(), held.back().const_data_ptr()});
  }
  write_safetensors(files, path, std::move(weights));
}

}  // namespace precis::models

// Stages the files of a model.
#include "train/model_writer.h"

#include "models/model_files.h"

namespace precis::train {

void write_model(AtomicDirectory& directory, const models::BartModel& model,
                 const std::optional<std::string>& generation_config, const Tokenizer* tokenizer) {
  directory.write("config.json", pretty_json(models::saved_config(model)));
  if (generation_config) directory.write("generation_config.json", *generation_config);
  if (tokenizer != nullptr) {
    for (const TokenizerFile& file : tokenizer->files()) directory.write(file.name, file.bytes);
  }
  models::write_weights(directory.files(), model, directory.stage() / "model.safetensors");
}

}  // namespace precis::train

// What `precis train CONFIG.yaml` of the objective denoise computes on: denoise_ids CONFIG.yaml
// training|validation EPOCH prints each piece as JSON: {"id": ..., "source": [ids], "target": [ids],
// "sentences": [where they begin]}.
#include <cstdio>
#include <iostream>
#include <string>

#include "io/json.h"
#include "train/config.h"
#include "train/dataset.h"

int main(int argc, char** argv) {
  using namespace precis;
  using namespace precis::train;
  if (argc != 4) {
    std::fprintf(stderr, "usage: denoise_ids CONFIG.yaml training|validation EPOCH\n");
    return 2;
  }
  try {
    const TrainConfig config = load_config(argv[1], {});
    const models::BartConfig model = models::BartConfig::load(config.model);
    const Tokenizer tokenizer = Tokenizer::load(config.model);
    const bool training = std::string(argv[2]) == "training";
    DatasetRequest request;
    request.use = training ? DatasetUse::kTraining : DatasetUse::kValidation;
    request.window = config.window.value_or(model.max_position_embeddings);
    request.limit = training ? 0 : config.validation.documents;
    const Dataset set = load_dataset(training ? config.data.train : config.data.validation, config, tokenizer,
                                     model, request);
    for (size_t row = 0; row < set.examples.size(); ++row) {
      const memory::Example example =
          training ? training_example(set, static_cast<int64_t>(row), std::stoll(argv[3]),
                                      static_cast<uint64_t>(config.seed))
                   : set.examples[row];
      std::cout << dump_json({{"id", example.id},
                              {"source", example.document.text},
                              {"target", example.target},
                              {"sentences", set.sentences[row]}})
                << "\n";
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return exit_code(error.kind());
  }
}

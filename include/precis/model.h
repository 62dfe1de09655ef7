// Summaries of texts of any length by a Hugging Face model directory: the library's way in.
// Errors are precis::Error, whatever goes wrong.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "precis/error.h"
#include "precis/log.h"
#include "precis/stop.h"
#include "precis/summary.h"
#include "precis/tokenizer.h"

namespace precis {

// A setting's value. Those that are lists of lists (bad_words_ids, sequence_bias) are written as JSON.
struct JsonText {
  std::string text;  // "[[5, 6], [7]]"
};
using GenerationValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, JsonText>;

// Under transformers' names: {{"num_beams", 4}, {"length_penalty", 2.0}, {"early_stopping", true}}. What is
// missing is left to the model's own files, as in transformers (docs/generation.md). `seed` is that of draws.
using GenerationSettings = std::map<std::string, GenerationValue>;

struct ModelOptions {
  std::string dtype = "float32";  // of weights and arithmetic: float32, bfloat16 or float64
  std::string device = "auto";    // cpu, cuda, or auto: a GPU where there is one
  LogSink log;                    // warnings: of weights that are converted or left out
};

struct SummarizeOptions {
  GenerationSettings generation;
  std::optional<std::string> query;  // put before every window
  std::optional<int64_t> window;     // positions the encoder reads at once; nothing: all that it has
  // Bytes of the whole process, or of the GPU's memory; refused where it can't be met.
  std::optional<int64_t> memory_budget;
  bool explain = false;  // also Summary::sources
  LogSink log;           // warnings: of a length that nothing sets, say
  // `fraction` of the work in [0, 1], and what is being done.
  std::function<void(double fraction, const std::string& doing)> progress;
  const StopToken* stop = nullptr;  // looked at between steps
};

// A loaded model. Copies share the weights. Work of one model must not be done in two threads at once.
class Model {
 public:
  // Reads config.json, the weights and the tokenizer. Throws Error{kModel} of whatever is missing or wrong
  // with them, Error{kUsage} of a dtype or a device that there is not.
  static Model load(const std::filesystem::path& directory, const ModelOptions& options = {});

  // The whole of a UTF-8 text is read, however long it is. Throws Error: kData with the byte offset where it
  // is not UTF-8, kUsage for an unknown or bad setting, kUnsupported for a setting of transformers that is
  // not built, kBudget, kNonFinite, kOutOfMemory, and the stop token's reason.
  Summary summarize(const std::string& text, const SummarizeOptions& options = {}) const;

  // In the texts' order, under the ids "1", "2" and so on: faster than one by one. A text's summary is that
  // of the text alone, but for rounding, and for draws: they depend on its place too.
  std::vector<Summary> summarize_all(const std::vector<std::string>& texts,
                                     const SummarizeOptions& options = {}) const;

  const Tokenizer& tokenizer() const;
  // Of the encoder: the largest window, and of the decoder.
  int64_t positions() const;

 private:
  struct Implementation;
  explicit Model(std::shared_ptr<const Implementation> implementation);
  std::shared_ptr<const Implementation> implementation_;
};

}  // namespace precis

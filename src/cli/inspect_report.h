// What `precis inspect` says of a model, a checkpoint, a weights file or a tokenizer, as one JSON object.
#pragma once

#include <filesystem>
#include <string>

#include "base/stop.h"
#include "io/json.h"

namespace precis::cli {

// Keys of every report: "kind" ("model", "checkpoint", "weights" or "tokenizer"), "path", "verified" (null,
// or what was verified), and by kind:
//   model, checkpoint: "model_type", "config", "parameters", "weights", "tied", "tokenizer", "generation",
//                      "manifest"; checkpoint: also "checkpoint" and "optimizer"
//   weights:           "weights"
//   tokenizer:         "tokenizer", "manifest"
// "bytes" and "elements" of weights count tied ones that share theirs once. What is absent (a tokenizer, a
// manifest) is null. With `verify` every byte is read and checked: files against the manifest's digests,
// weights for completeness against the configuration and for values that are not finite, the tokenizer's ids
// against the embedding. Damage is Error{kModel}. A path that is nothing of all this is Error{kModel} too.
Json inspect_report(const std::filesystem::path& path, bool verify, const StopToken* stop);

// The report for people.
std::string inspect_text(const Json& report);

}  // namespace precis::cli

// Examples of the objective `denoise`: the pieces of documents, and their noise.
#pragma once

#include <cstdint>
#include <string>

#include "data/denoise.h"
#include "data/documents.h"
#include "models/bart/bart_config.h"
#include "text/sentences.h"
#include "text/tokenizer.h"
#include "train/config.h"
#include "train/dataset.h"

namespace precis::train {

// What the configuration says of the noise. Error{kModel} naming `where` for a tokenizer without a mask, or
// one whose mask the model has no row for.
DenoiseOptions denoise_options(const TrainConfig& config, const Tokenizer& tokenizer,
                               const models::BartConfig& model, const std::string& where);

// Cuts a document, of which nothing is left out, into pieces of at most `piece` (from 1) tokens and adds each
// to `set` as an example with its target, BOS + piece + EOS, whose source is still empty. Throws what
// check_ids() throws.
void add_pieces(const Document& document, const Tokenizer& tokenizer, const models::BartConfig& model,
                int64_t piece, SentenceSplitter& splitter, Dataset& set);

// The source of example `row`: its piece with noise that `key` decides.
std::vector<int32_t> noised_piece(const Dataset& set, int64_t row, uint64_t key);

// Gives every example of a validation set a source, the same whatever the seed and the step.
void fix_noise(Dataset& set);

}  // namespace precis::train

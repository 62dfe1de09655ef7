// From documents to pieces, and from pieces to noised sources.
#include "train/denoise_dataset.h"

#include <algorithm>
#include <span>

#include "base/error.h"
#include "base/random.h"
#include "evaluate/examples.h"

namespace precis::train {

namespace {

// Keeps the noise of validation apart from that of every seed.
constexpr uint64_t kValidationStream = 0x76616C6964617465;  // "validate"

// Which sentence each token's last character is in: so the space before a word goes with the word.
std::vector<int32_t> sentences_of(const Encoding& encoding, const std::vector<SourceSpan>& sentences) {
  std::vector<int32_t> result;
  result.reserve(encoding.ids.size());
  size_t sentence = 0;
  for (const SourceSpan& token : encoding.offsets) {
    while (sentence + 1 < sentences.size() && sentences[sentence].end < token.end) ++sentence;
    result.push_back(static_cast<int32_t>(sentence));
  }
  return result;
}

}  // namespace

DenoiseOptions denoise_options(const TrainConfig& config, const Tokenizer& tokenizer,
                               const models::BartConfig& model, const std::string& where) {
  const std::optional<int32_t> mask = tokenizer.mask();
  if (!mask || *mask >= model.vocab_size) {
    throw Error(ErrorKind::kModel, {.what = "the objective denoise needs a mask token",
                                    .where = where,
                                    .expected = "a tokenizer with <mask>, of an id below vocab_size " +
                                                std::to_string(model.vocab_size),
                                    .found = mask ? "id " + std::to_string(*mask) : "none"});
  }
  return {.mask_ratio = config.denoise.mask_ratio,
          .poisson_lambda = config.denoise.poisson_lambda,
          .permute_sentences = config.denoise.permute_sentences,
          .mask_id = *mask};
}

void add_pieces(const Document& document, const Tokenizer& tokenizer, const models::BartConfig& model,
                int64_t piece, SentenceSplitter& splitter, Dataset& set) {
  const Encoding encoding = tokenizer.encode(document.text);
  evaluate::check_ids(encoding.ids, document.where, model);
  const std::vector<int32_t> sentences = sentences_of(encoding, splitter.split(document.text));
  const int64_t tokens = static_cast<int64_t>(encoding.ids.size());
  for (int64_t begin = 0; begin < tokens; begin += piece) {
    const int64_t end = std::min(tokens, begin + piece);
    memory::Example example;
    example.id = document.id;
    if (tokens > piece) example.id += " tokens " + std::to_string(begin) + " to " + std::to_string(end);
    example.target.push_back(static_cast<int32_t>(model.bos_token_id));
    example.target.insert(example.target.end(), encoding.ids.begin() + begin, encoding.ids.begin() + end);
    example.target.push_back(static_cast<int32_t>(model.eos_token_id));
    std::vector<int32_t> begins;
    for (int64_t i = begin; i < end; ++i) {
      if (i == begin || sentences[i] != sentences[i - 1]) begins.push_back(static_cast<int32_t>(i - begin));
    }
    set.examples.push_back(std::move(example));
    set.sentences.push_back(std::move(begins));
  }
}

std::vector<int32_t> noised_piece(const Dataset& set, int64_t row, uint64_t key) {
  const std::span<const int32_t> target(set.examples[static_cast<size_t>(row)].target);
  return add_noise(target.subspan(1, target.size() - 2), set.sentences[static_cast<size_t>(row)],
                   set.denoise.value(), key);
}

void fix_noise(Dataset& set) {
  for (size_t row = 0; row < set.examples.size(); ++row) {
    set.examples[row].document.text =
        noised_piece(set, static_cast<int64_t>(row), combine(kValidationStream, row));
  }
}

}  // namespace precis::train

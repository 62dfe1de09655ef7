// Greedy search, sampling and beam search as transformers' generate() does them, without a model: logits in,
// next tokens out.
// Letters: B documents, K beams or sequences, R = live documents * K rows, V vocabulary.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "generate/generation_config.h"
#include "generate/logits_rules.h"
#include "generate/sampling.h"
#include "precis/summary.h"

namespace precis::generate {

struct Generated {
  TokenSequence
      token_ids;  // as transformers returns them for a batch of one: start token included, no padding
  FinishReason finish_reason = FinishReason::kLength;
  // Over (new tokens) ^ length_penalty: with beams the sum of the tokens' scores that they were ranked by;
  // without, of their log-probabilities in the model's own distribution, forced ones counting 0.
  double score = 0.0;
};

// What a search knows of a document besides its scores.
struct SearchedDocument {
  uint64_t key = 0;    // names it for the draws of sampling
  TokenSequence read;  // the ids that the encoder read; may be empty but where config.reads_document()
  std::string name;    // its row's, for errors
};

// Each document is searched as if it were alone; it leaves the live ones as soon as its search ends.
class Search {
 public:
  virtual ~Search() = default;

  // The documents still searched, ascending. Row i * K + k is beam or sequence k of the i-th.
  const std::vector<int64_t>& live() const { return live_; }
  bool done() const { return live_.empty(); }
  // Ids in every live row, start token included.
  int64_t length() const { return length_; }
  // "row-7, token 3": the i-th live document and its next token, for errors.
  std::string place(size_t i) const;

  struct Step {
    at::Tensor tokens_R;   // int64: what each row that is still live reads next
    at::Tensor parents_R;  // int64: the row before this step that it continues
    bool moved = false;    // a row continues another one than itself, or rows have left
  };
  // logits_RV: float32, of the rows' next tokens; changed in place. Not once done.
  virtual Step advance(at::Tensor logits_RV) = 0;

  // The ids that the best sequence of the i-th live document is sure to begin with, start token included:
  // nothing that is still to come changes them.
  virtual TokenSequence certain(size_t i) const = 0;

  // num_return_sequences for each document: with beams the best first, else in the order of their draws. Only
  // once done.
  std::vector<std::vector<Generated>> results() && { return std::move(results_); }

 protected:
  Search(const GenerationConfig& config, std::vector<SearchedDocument> documents);
  bool ends(int32_t token) const;
  Generated make_result(TokenSequence tokens, double score) const;
  // The step of the rows that go on, given the row each continues and its new token. Moves length() on.
  Step make_step(const std::vector<int64_t>& tokens, const std::vector<int64_t>& parents,
                 int64_t rows_before);
  // What names the next draw of a live document. Only with config_.sampling.
  Draw next_draw(size_t i) const;

  GenerationConfig config_;
  LogitsRules rules_;
  std::vector<int64_t> live_;
  int64_t length_ = 1;
  std::vector<std::vector<Generated>> results_;

 private:
  std::vector<uint64_t> keys_;      // of all documents
  std::vector<std::string> names_;  // of all documents
};

// Greedy search, or sampling: every sequence is written on its own.
class SequenceSearch : public Search {
 public:
  SequenceSearch(const GenerationConfig& config, std::vector<SearchedDocument> documents);
  Step advance(at::Tensor logits_RV) override;
  TokenSequence certain(size_t i) const override;

 private:
  // A sequence that has ended is padded until the last of its document ends.
  struct Row {
    TokenSequence tokens;
    double log_probability = 0.0;  // summed
    std::optional<Generated> result;
  };
  std::vector<int64_t> choose(const at::Tensor& scores_RV) const;

  std::vector<Row> rows_;  // of the live documents
};

class BeamSearch : public Search {
 public:
  BeamSearch(const GenerationConfig& config, std::vector<SearchedDocument> documents);
  Step advance(at::Tensor logits_RV) override;
  TokenSequence certain(size_t i) const override;

 private:
  struct Hypothesis {
    TokenSequence tokens;
    bool finished = false;
  };
  // Best first. `running` and `best` have K elements each.
  struct Document {
    std::vector<TokenSequence> running;
    std::vector<float> running_scores;  // summed log-probabilities
    std::vector<Hypothesis> best;
    std::vector<float> best_scores;  // with the length penalty
  };
  struct Candidates;
  // The places of the continuations to look at, [live documents, kept], in scores_BN.
  at::Tensor choose(const at::Tensor& scores_BN, int64_t kept) const;
  bool over(const Document& document, const Candidates& candidates) const;
  void keep_finished(Document& document, const Candidates& candidates) const;

  std::vector<Document> documents_;  // one a live document
};

std::unique_ptr<Search> make_search(const GenerationConfig& config, std::vector<SearchedDocument> documents);

}  // namespace precis::generate

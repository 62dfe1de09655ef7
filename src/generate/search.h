// Greedy and beam search as transformers' generate() does them, without a model: logits in, next tokens out.
// Letters: B documents, K beams, R = live documents * K rows, V vocabulary.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "generate/generation_config.h"
#include "generate/logits_rules.h"

namespace precis::generate {

// kLength also where the end was forced at max_length (forced_eos_token_id): the model had not ended by
// itself.
enum class FinishReason { kEos, kLength };

// PRODUCT's spelling: "eos", "length".
const char* name(FinishReason reason);

struct Generated {
  TokenSequence
      token_ids;  // as transformers returns them for a batch of one: start token included, no padding
  FinishReason finish_reason = FinishReason::kLength;
  // Sum of the tokens' log-probabilities, forced ones counting 0, over (new tokens) ^ length_penalty.
  double score = 0.0;
};

// Each document is searched as if it were alone; it leaves the live ones as soon as its search ends.
class Search {
 public:
  virtual ~Search() = default;

  // The documents still searched, ascending. Row i * K + k is beam k of the i-th.
  const std::vector<int64_t>& live() const { return live_; }
  bool done() const { return live_.empty(); }
  // Ids in every live row, start token included.
  int64_t length() const { return length_; }

  struct Step {
    at::Tensor tokens_R;   // int64: what each row that is still live reads next
    at::Tensor parents_R;  // int64: the row before this step that it continues
    bool moved = false;    // a row continues another one than itself, or rows have left
  };
  // logits_RV: float32, of the rows' next tokens; changed in place. Not once done.
  virtual Step advance(at::Tensor logits_RV) = 0;

  // One result a document. Only once done.
  std::vector<Generated> results() && { return std::move(results_); }

 protected:
  Search(const GenerationConfig& config, int64_t documents);
  bool ends(int32_t token) const;
  Generated make_result(TokenSequence tokens, double score) const;
  // The step of the rows that go on, given the row each continues and its new token. Moves length() on.
  Step make_step(const std::vector<int64_t>& tokens, const std::vector<int64_t>& parents,
                 int64_t rows_before);

  GenerationConfig config_;
  LogitsRules rules_;
  std::vector<int64_t> live_;
  int64_t length_ = 1;
  std::vector<Generated> results_;
};

class GreedySearch : public Search {
 public:
  GreedySearch(const GenerationConfig& config, int64_t documents);
  Step advance(at::Tensor logits_RV) override;

 private:
  std::vector<TokenSequence> rows_;        // one a live document
  std::vector<double> log_probabilities_;  // summed, one a live document
};

class BeamSearch : public Search {
 public:
  BeamSearch(const GenerationConfig& config, int64_t documents);
  Step advance(at::Tensor logits_RV) override;

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
  bool over(const Document& document, const Candidates& candidates) const;
  void keep_finished(Document& document, const Candidates& candidates) const;

  std::vector<Document> documents_;  // one a live document
};

std::unique_ptr<Search> make_search(const GenerationConfig& config, int64_t documents);

}  // namespace precis::generate

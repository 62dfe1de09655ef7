// Beam search, step by step as transformers 5 defines it: the best candidates of all beams, those that end
// compete for the finished places under the length penalty, the others run on. Scores are float32 whatever
// the model's type, and selections go through the library's top-k, so that ties fall as they do there. With
// sampling the candidates are drawn without replacement instead; everything else stays.
#include <algorithm>
#include <cmath>
#include <string>

#include "generate/ruled_out.h"
#include "generate/search.h"

namespace precis::generate {

namespace {

// Added to a score to take it out of a selection; also the score of a beam that does not exist yet.
constexpr float kOut = -1.0e9f;

// Places of the `count` greatest, greatest first.
std::vector<int64_t> greatest(const std::vector<float>& scores, int64_t count) {
  const at::Tensor places = std::get<1>(at::tensor(scores, at::kFloat).unsqueeze(0).topk(count));
  const int64_t* data = places.const_data_ptr<int64_t>();
  return {data, data + count};
}

[[noreturn]] void refuse_ranking(const std::string& where) {
  throw Error(ErrorKind::kUsage,
              {.what = "the generation settings take a summary's score below -1e9, where beam "
                       "search takes it for none",
               .where = where,
               .hint = "give a length_penalty nearer to 0, or smaller biases"});
}

float penalised(float score, int64_t new_tokens, double length_penalty) {
  return score / static_cast<float>(std::pow(static_cast<double>(new_tokens), length_penalty));
}

}  // namespace

// The best continuations of a document's beams, best first.
struct BeamSearch::Candidates {
  std::vector<int64_t> beams;  // which beam each continues
  std::vector<TokenSequence> sequences;
  std::vector<float> scores;  // summed log-probabilities
  std::vector<bool> stops;    // ends with EOS, or is as long as may be

  bool all_stop() const {
    return std::all_of(stops.begin(), stops.end(), [](bool stop) { return stop; });
  }
};

BeamSearch::BeamSearch(const GenerationConfig& config, std::vector<SearchedDocument> documents)
    : Search(config, std::move(documents)) {
  const size_t beams = static_cast<size_t>(config.num_beams);
  const TokenSequence start{static_cast<int32_t>(config.decoder_start_token_id)};
  Document document;
  document.running.assign(beams, start);
  // All beams start alike: only the first one's continuations count.
  document.running_scores.assign(beams, kOut);
  document.running_scores[0] = 0.0f;
  document.best.assign(beams, Hypothesis{start, false});
  document.best_scores.assign(beams, kOut);
  documents_.assign(live_.size(), document);
}

void BeamSearch::keep_finished(Document& document, const Candidates& candidates) const {
  const size_t beams = document.best.size();
  std::vector<float> scores = document.best_scores;
  std::vector<Hypothesis> hypotheses = std::move(document.best);
  for (size_t c = 0; c < candidates.scores.size(); ++c) {
    // Only the first K may finish; the rest are there so that K are left to run on.
    const bool finished = candidates.stops[c] && c < beams;
    const float score = penalised(candidates.scores[c], length_, config_.length_penalty);
    scores.push_back(finished ? score : score + kOut);
    hypotheses.push_back({candidates.sequences[c], finished});
  }
  document.best.clear();
  document.best_scores.clear();
  for (const int64_t place : greatest(scores, config_.num_beams)) {
    document.best.push_back(hypotheses[static_cast<size_t>(place)]);
    document.best_scores.push_back(scores[static_cast<size_t>(place)]);
  }
}

// Whether the document's search ends, its lists being those after this step.
bool BeamSearch::over(const Document& document, const Candidates& candidates) const {
  if (candidates.all_stop()) return true;
  const auto finished = [](const Hypothesis& hypothesis) { return hypothesis.finished; };
  const bool full = std::all_of(document.best.begin(), document.best.end(), finished);
  if (full && config_.early_stopping == EarlyStopping::kTrue) return true;
  // Could the best running beam still be better than the worst finished one? A beam that has not finished any
  // hypothesis counts as the worst there is.
  const bool longest = config_.early_stopping == EarlyStopping::kNever && config_.length_penalty > 0.0;
  const int64_t new_tokens = longest ? config_.max_length - 1 : length_;
  const float attainable = penalised(document.running_scores[0], new_tokens, config_.length_penalty);
  const float worst = *std::min_element(document.best_scores.begin(), document.best_scores.end());
  return std::none_of(document.best.begin(), document.best.end(), [&](const Hypothesis& hypothesis) {
    return attainable > (hypothesis.finished ? worst : kOut);
  });
}

at::Tensor BeamSearch::choose(const at::Tensor& scores_BN, int64_t kept) const {
  if (!config_.sampling) return std::get<1>(scores_BN.topk(kept));
  const at::Tensor scores = scores_BN.to(at::kCPU).contiguous();
  std::vector<int64_t> places;
  for (size_t i = 0; i < live_.size(); ++i) {
    const std::vector<int64_t> drawn =
        draw_places(scores[static_cast<int64_t>(i)], kept, next_draw(i).key(0));
    places.insert(places.end(), drawn.begin(), drawn.end());
  }
  return at::tensor(places, at::kLong).view({-1, kept}).to(scores_BN.device());
}

TokenSequence BeamSearch::certain(size_t i) const {
  const Document& document = documents_[i];
  TokenSequence shared = document.running.front();
  const auto shorten = [&](const TokenSequence& other) {
    const auto [end, ignored] = std::mismatch(shared.begin(), shared.end(), other.begin(), other.end());
    shared.erase(end, shared.end());
  };
  for (const TokenSequence& row : document.running) shorten(row);
  // A finished hypothesis may still be the best.
  for (const Hypothesis& hypothesis : document.best) {
    if (hypothesis.finished) shorten(hypothesis.tokens);
  }
  return shared;
}

Search::Step BeamSearch::advance(at::Tensor logits_RV) {
  const int64_t beams = config_.num_beams;
  const int64_t documents = static_cast<int64_t>(documents_.size());
  const int64_t vocabulary = logits_RV.size(1);
  const int64_t kept = std::max<int64_t>(2, 1 + static_cast<int64_t>(config_.eos_token_id.size())) * beams;

  std::vector<const TokenSequence*> rows;
  std::vector<float> running_scores;
  for (const Document& document : documents_) {
    for (const TokenSequence& row : document.running) rows.push_back(&row);
    running_scores.insert(running_scores.end(), document.running_scores.begin(),
                          document.running_scores.end());
  }
  at::Tensor scores_RV = logits_RV.log_softmax(1);
  rules_.apply(rows, live_, scores_RV);
  scores_RV.add_(at::tensor(running_scores, at::kFloat).to(scores_RV.device()).unsqueeze(1));
  const at::Tensor scores_BN = scores_RV.view({documents, beams * vocabulary});
  const at::Tensor best_places = choose(scores_BN, kept);
  const at::Tensor scores_BK = scores_BN.gather(1, best_places).to(at::kCPU).contiguous();
  const at::Tensor places_BK = best_places.to(at::kCPU).contiguous();

  std::vector<int64_t> live, tokens, parents;
  std::vector<Document> documents_left;
  for (int64_t d = 0; d < documents; ++d) {
    Document& document = documents_[static_cast<size_t>(d)];
    const float* scores = scores_BK.const_data_ptr<float>() + d * kept;
    const int64_t* places = places_BK.const_data_ptr<int64_t>() + d * kept;
    Candidates candidates;
    candidates.scores.assign(scores, scores + kept);
    std::vector<float> may_run(candidates.scores);
    for (int64_t c = 0; c < kept; ++c) {
      const int32_t token = static_cast<int32_t>(places[c] % vocabulary);
      candidates.beams.push_back(places[c] / vocabulary);
      candidates.sequences.push_back(document.running[static_cast<size_t>(candidates.beams.back())]);
      candidates.sequences.back().push_back(token);
      candidates.stops.push_back(ends(token) || length_ + 1 >= config_.max_length);
      if (candidates.stops.back()) may_run[static_cast<size_t>(c)] += kOut;
    }
    document.running.clear();
    document.running_scores.clear();
    std::vector<int64_t> document_parents;
    for (const int64_t c : greatest(may_run, beams)) {
      document.running.push_back(candidates.sequences[static_cast<size_t>(c)]);
      document.running_scores.push_back(may_run[static_cast<size_t>(c)]);
      document_parents.push_back(d * beams + candidates.beams[static_cast<size_t>(c)]);
    }
    const bool ended = std::any_of(document.best.begin(), document.best.end(),
                                   [](const Hypothesis& hypothesis) { return hypothesis.finished; });
    const float first = candidates.scores.front();
    // What has ended before stands where all beams come to nothing.
    if (!std::isfinite(first) && !(first == kRuledOut && ended)) refuse_scores(first, place(d));
    keep_finished(document, candidates);
    if (over(document, candidates)) {
      // A search ends with one that has ended, but where its score is below those that stand for none.
      if (!document.best.front().finished) refuse_ranking(place(d));
      std::vector<Generated>& results = results_[static_cast<size_t>(live_[static_cast<size_t>(d)])];
      for (size_t k = 0; k < static_cast<size_t>(config_.num_return_sequences); ++k) {
        results.push_back(make_result(std::move(document.best[k].tokens), document.best_scores[k]));
      }
      continue;
    }
    live.push_back(live_[static_cast<size_t>(d)]);
    for (const TokenSequence& row : document.running) tokens.push_back(row.back());
    parents.insert(parents.end(), document_parents.begin(), document_parents.end());
    documents_left.push_back(std::move(document));
  }
  live_ = std::move(live);
  documents_ = std::move(documents_left);
  return make_step(tokens, parents, documents * beams);
}

}  // namespace precis::generate

// Loss and ROUGE of a data set during training.
#include "train/validation.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "generate/generate.h"
#include "memory/encode.h"
#include "memory/packs.h"

namespace precis::train {

namespace {

struct Summaries {
  std::vector<std::string> texts;  // in the order of the examples
  int64_t tokens = 0;
};

Summaries summarize(const models::BartModel& model, const Tokenizer& tokenizer, const Dataset& set,
                    const ValidationRequest& request) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<memory::Window>> windows;
  for (const memory::Example& example : set.examples) {
    windows.push_back(memory::cut_windows(model.config(), example.document, request.window));
  }
  Summaries summaries;
  summaries.texts.resize(set.examples.size());
  int64_t done = 0;
  for (const memory::DocumentPack& pack : memory::pack_documents(std::move(windows))) {
    memory::throw_if_stopped(request.stop);
    memory::HeldCrossAttention attention(memory::encode_pack(model, pack, {}, request.stop));
    const std::vector<generate::Generated> results = generate::generate(
        model, attention, pack.size(), *request.generation, {.on_step = {}, .stop = request.stop});
    for (int64_t b = 0; b < pack.size(); ++b) {
      const auto& ids = results[b].token_ids;
      summaries.texts[pack.documents[b]] = tokenizer.decode(ids, /*skip_special=*/true);
      summaries.tokens +=
          std::count_if(ids.begin(), ids.end(), [&](int32_t id) { return !tokenizer.is_special(id); });
    }
    done += pack.size();
    if (request.progress) request.progress(done, static_cast<int64_t>(set.examples.size()));
  }
  return summaries;
}

std::array<double, 4> mean_rouge(const Summaries& summaries, const Dataset& set) {
  std::array<double, 4> means = {};
  for (size_t i = 0; i < summaries.texts.size(); ++i) {
    const evaluate::RougeScores scores =
        evaluate::rouge(set.references[i], summaries.texts[i], /*stemmer=*/true);
    for (size_t type = 0; type < means.size(); ++type) means[type] += scores[type].fmeasure;
  }
  for (double& mean : means) mean /= static_cast<double>(summaries.texts.size());
  return means;
}

}  // namespace

double ValidationResult::metric(const std::string& name) const {
  if (name == "loss") return loss;
  for (size_t type = 0; type < evaluate::kRougeNames.size(); ++type) {
    if (name == evaluate::kRougeNames[type]) return rouge.value()[type];
  }
  throw Error(ErrorKind::kInternal, {.what = "unknown metric", .found = name});
}

bool is_better(const std::string& metric, double value, double than) {
  return metric == "loss" ? value < than : value > than;
}

ValidationResult validate(const models::BartModel& model, const Tokenizer& tokenizer, const Dataset& set,
                          const ValidationRequest& request) {
  ValidationResult result;
  result.documents = static_cast<int64_t>(set.examples.size());
  double nll_sum = 0.0;
  for (const memory::DocumentLoss& loss :
       memory::document_losses(model, set.examples, request.window, request.stop)) {
    nll_sum += loss.nll_sum;
    result.tokens += loss.tokens;
  }
  result.loss = nll_sum / static_cast<double>(result.tokens);
  if (request.generation) {
    const Summaries summaries = summarize(model, tokenizer, set, request);
    result.rouge = mean_rouge(summaries, set);
    result.mean_length = static_cast<double>(summaries.tokens) / static_cast<double>(result.documents);
  }
  return result;
}

}  // namespace precis::train

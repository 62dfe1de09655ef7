// Packs of documents: encode, score the targets, write the summaries.
#include "evaluate/model_results.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "generate/generate.h"
#include "memory/cross_attention.h"
#include "memory/decode_plan.h"
#include "memory/encode.h"
#include "memory/packs.h"

namespace precis::evaluate {

namespace {

// Of a pack's work, as the progress tells it: how long decoding takes is not known before.
constexpr double kEncodingShare = 0.5;

class Runner {
 public:
  Runner(const models::BartModel& model, const std::vector<memory::Example>& examples,
         const ModelRequest& request)
      : model_(model), examples_(examples), request_(request), results_(examples.size()) {
    // The first of several is the summary.
    if (request_.generation) request_.generation->num_return_sequences = 1;
  }

  std::vector<ModelResult> run() {
    std::vector<std::vector<memory::Window>> windows;
    windows.reserve(examples_.size());
    for (const memory::Example& example : examples_) {
      windows.push_back(memory::cut_windows(model_.config(), example.document, request_.window));
    }
    const int64_t most = request_.generation ? generate::documents_at_once(*request_.generation)
                                             : memory::kDocumentPackDocuments;
    for (const memory::DocumentPack& pack : memory::pack_documents(std::move(windows), most)) {
      run_pack(pack);
      done_ += pack.size();
    }
    return std::move(results_);
  }

 private:
  void run_pack(const memory::DocumentPack& pack) {
    const double size = static_cast<double>(pack.size());
    const int64_t held = request_.generation ? held_layers(pack) : 0;
    memory::MemoryBatch memory =
        memory::encode_pack(model_, pack, {}, request_.stop, [&](int64_t windows, int64_t all) {
          show(size * kEncodingShare * static_cast<double>(windows) / static_cast<double>(all),
               std::to_string(windows) + " of " + std::to_string(all) + " windows encoded");
        });
    if (request_.loss) {
      throw_if_stopped(request_.stop);
      const std::vector<memory::DocumentLoss> losses = memory::pack_losses(model_, examples_, pack, memory);
      for (size_t b = 0; b < losses.size(); ++b) results_[pack.documents[b]].loss = losses[b];
    }
    if (request_.generation) write_summaries(pack, std::move(memory), held);
    show(size, "");
  }

  int64_t held_layers(const memory::DocumentPack& pack) const {
    if (request_.held_layers) return *request_.held_layers;
    return memory::plan_decoding(
               model_, pack,
               {.sequences = request_.generation->rows(), .max_length = request_.generation->max_length})
        .held_layers;
  }

  void write_summaries(const memory::DocumentPack& pack, memory::MemoryBatch memory, int64_t held_layers) {
    memory::DecodingCrossAttention attention(std::move(memory), held_layers);
    const double most = static_cast<double>(request_.generation->max_length - 1);
    const auto on_step = [&](int64_t tokens, int64_t) {
      const double share = kEncodingShare + (1 - kEncodingShare) * static_cast<double>(tokens) / most;
      show(static_cast<double>(pack.size()) * share, std::to_string(tokens) + " tokens written");
    };
    const generate::GenerationConfig& config = *request_.generation;
    std::vector<generate::SearchedDocument> documents = generate::searched_documents(config, pack);
    for (size_t b = 0; b < documents.size(); ++b) documents[b].name = examples_[pack.documents[b]].id;
    std::vector<std::vector<generate::Generated>> summaries = generate::generate(
        model_, attention, std::move(documents), config, {.on_step = on_step, .stop = request_.stop});
    for (size_t b = 0; b < summaries.size(); ++b) {
      results_[pack.documents[b]].summary = std::move(summaries[b].front().token_ids);
    }
  }

  void show(double of_pack, const std::string& doing) const {
    if (request_.progress) request_.progress(static_cast<double>(done_) + of_pack, doing);
  }

  const models::BartModel& model_;
  const std::vector<memory::Example>& examples_;
  ModelRequest request_;
  std::vector<ModelResult> results_;
  int64_t done_ = 0;
};

// A result as bytes, for other ranks: the loss, the number of tokens, the summary's ids.
void append(std::string& bytes, const ModelResult& result) {
  const auto put = [&bytes](const void* data, size_t size) {
    bytes.append(static_cast<const char*>(data), size);
  };
  const int64_t length = static_cast<int64_t>(result.summary.size());
  put(&result.loss.nll_sum, sizeof result.loss.nll_sum);
  put(&result.loss.tokens, sizeof result.loss.tokens);
  put(&length, sizeof length);
  put(result.summary.data(), result.summary.size() * sizeof result.summary.front());
}

ModelResult take(const std::string& bytes, size_t& at) {
  const auto get = [&](void* data, size_t size) {
    bytes.copy(static_cast<char*>(data), size, at);
    at += size;
  };
  ModelResult result;
  int64_t length = 0;
  get(&result.loss.nll_sum, sizeof result.loss.nll_sum);
  get(&result.loss.tokens, sizeof result.loss.tokens);
  get(&length, sizeof length);
  result.summary.resize(static_cast<size_t>(length));
  get(result.summary.data(), result.summary.size() * sizeof result.summary.front());
  return result;
}

// The examples in turn, longest first, so that every rank has about as much to do.
std::vector<std::vector<size_t>> shares(const std::vector<memory::Example>& examples, int ranks) {
  std::vector<size_t> order(examples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return examples[a].document.text.size() > examples[b].document.text.size();
  });
  std::vector<std::vector<size_t>> share(static_cast<size_t>(ranks));
  for (size_t i = 0; i < order.size(); ++i) share[i % share.size()].push_back(order[i]);
  return share;
}

}  // namespace

std::vector<ModelResult> model_results(const models::BartModel& model,
                                       const std::vector<memory::Example>& examples,
                                       const ModelRequest& request) {
  if (request.ranks == nullptr || request.ranks->size() == 1) return Runner(model, examples, request).run();
  const std::vector<std::vector<size_t>> share = shares(examples, request.ranks->size());
  std::vector<memory::Example> own;
  for (const size_t index : share[static_cast<size_t>(request.ranks->rank())]) own.push_back(examples[index]);
  std::string bytes;
  if (!own.empty()) {
    for (const ModelResult& result : Runner(model, own, request).run()) append(bytes, result);
  }
  const std::vector<std::string> of_ranks = request.ranks->gather(bytes);
  std::vector<ModelResult> results(examples.size());
  for (size_t rank = 0; rank < share.size(); ++rank) {
    size_t at = 0;
    for (const size_t index : share[rank]) results[index] = take(of_ranks[rank], at);
  }
  return results;
}

}  // namespace precis::evaluate

// Packs of documents: encode, score the targets, write the summaries.
#include "evaluate/model_results.h"

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

}  // namespace

std::vector<ModelResult> model_results(const models::BartModel& model,
                                       const std::vector<memory::Example>& examples,
                                       const ModelRequest& request) {
  return Runner(model, examples, request).run();
}

}  // namespace precis::evaluate

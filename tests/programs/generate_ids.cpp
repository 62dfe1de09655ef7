// Writes summaries of given token ids for tests/python/generate_parity_test.py: reads a request (model,
// dtype, window, documents, cases of generation options) and prints a JSON line a case with every document's
// sequences.
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "generate/generate.h"
#include "io/json.h"
#include "memory/cross_attention.h"
#include "memory/encode.h"
#include "memory/packs.h"
#include "memory/windows.h"
#include "models/bart/bart.h"

namespace precis {

namespace {

struct Batch {
  memory::DocumentPack pack;
  memory::MemoryBatch memory;
};

std::vector<Batch> encode(const models::BartModel& model, const Json& documents, int64_t window) {
  std::vector<std::vector<memory::Window>> windows;
  for (const Json& document : documents) {
    memory::DocumentTokens tokens;
    tokens.text = document.at("text").get<std::vector<int32_t>>();
    tokens.query = document.value("query", std::vector<int32_t>());
    windows.push_back(memory::cut_windows(model.config(), tokens, window));
  }
  std::vector<Batch> batches;
  for (memory::DocumentPack& pack : memory::pack_documents(windows)) {
    memory::MemoryBatch states = memory::encode_pack(model, pack, {});
    batches.push_back({std::move(pack), std::move(states)});
  }
  return batches;
}

Json run_case(const models::BartModel& model, const std::vector<Batch>& batches, const std::string& directory,
              const Json& options) {
  Json warnings = Json::array();
  const LogSink sink = [&](LogLevel, const std::string& message) { warnings.push_back(message); };
  const generate::GenerationConfig config =
      generate::resolve_generation_config(directory, model.config(), options, sink);
  std::map<int64_t, Json> results;
  for (const Batch& batch : batches) {
    memory::HeldCrossAttention attention(batch.memory);
    const std::vector<std::vector<generate::Generated>> generated =
        generate::generate(model, attention, generate::searched_documents(config, batch.pack), config);
    for (size_t i = 0; i < generated.size(); ++i) {
      Json& sequences = results[batch.pack.documents[i]] = Json::array();
      for (const generate::Generated& sequence : generated[i]) {
        sequences.push_back({{"token_ids", sequence.token_ids},
                             {"finish_reason", name(sequence.finish_reason)},
                             {"score", sequence.score}});
      }
    }
  }
  Json line = {{"documents", Json::array()}, {"warnings", warnings}};
  for (auto& [document, result] : results) line["documents"].push_back(std::move(result));
  return line;
}

int run(const std::string& path) {
  const Json request = read_json_file(path, ErrorKind::kUsage);
  const std::string directory = request.at("model").get<std::string>();
  const at::ScalarType dtype = request.at("dtype") == "float64" ? at::kDouble : at::kFloat;
  models::BartModel model = models::BartModel::load(directory, dtype);
  model.pack_for_inference();
  const std::vector<Batch> batches =
      encode(model, request.at("documents"), request.at("window").get<int64_t>());
  for (const Json& options : request.at("cases")) {
    Json line;
    try {
      line = run_case(model, batches, directory, options);
    } catch (const Error& error) {
      line = {{"error", name(error.kind())}, {"message", error.what()}};
    }
    std::printf("%s\n", line.dump().c_str());
  }
  return 0;
}

}  // namespace

}  // namespace precis

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: generate_ids REQUEST.json\n");
    return 2;
  }
  try {
    return precis::run(argv[1]);
  } catch (const precis::Error& error) {
    std::fprintf(stderr, "generate_ids: %s\n", error.what());
    return precis::exit_code(error.kind());
  }
}

// Applies the rules over next tokens to given scores for tests/python/generate_rules_test.py: reads a request
// (cases of generation options, documents as the encoder read them, rows of ids, scores) and prints a JSON
// line a case with the scores after all rules; null is -inf.
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "generate/generation_config.h"
#include "generate/logits_rules.h"
#include "io/json.h"

namespace precis {

namespace {

Json run_case(const Json& request) {
  const std::vector<std::vector<float>> given = request.at("scores").get<std::vector<std::vector<float>>>();
  models::BartConfig model;
  model.vocab_size = static_cast<int64_t>(given.front().size());
  model.max_position_embeddings = 1024;
  const generate::GenerationConfig config =
      generate::resolve_generation_config(request.at("options"), "options", model, Json::object(), {});
  const auto rows = request.at("rows").get<std::vector<generate::TokenSequence>>();
  const auto read = request.at("read").get<std::vector<generate::TokenSequence>>();

  std::vector<at::Tensor> lines;
  for (const std::vector<float>& line : given) lines.push_back(at::tensor(line, at::kFloat));
  at::Tensor scores_RV = at::stack(lines);
  std::vector<const generate::TokenSequence*> pointers;
  for (const generate::TokenSequence& row : rows) pointers.push_back(&row);
  std::vector<int64_t> documents(read.size());
  for (size_t d = 0; d < read.size(); ++d) documents[d] = static_cast<int64_t>(d);
  generate::LogitsRules(config, read).apply(pointers, documents, scores_RV);

  Json result = Json::array();
  const float* value = scores_RV.const_data_ptr<float>();
  for (int64_t r = 0; r < scores_RV.size(0); ++r) {
    Json line = Json::array();
    for (int64_t v = 0; v < scores_RV.size(1); ++v, ++value) {
      line.push_back(std::isinf(*value) && *value < 0 ? Json() : Json(*value));
    }
    result.push_back(std::move(line));
  }
  return result;
}

int run(const std::string& path) {
  const Json request = read_json_file(path, ErrorKind::kUsage);
  for (const Json& one : request.at("cases")) {
    Json line;
    try {
      line = {{"scores", run_case(one)}};
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
    std::fprintf(stderr, "usage: filtered_scores REQUEST.json\n");
    return 2;
  }
  try {
    return precis::run(argv[1]);
  } catch (const precis::Error& error) {
    std::fprintf(stderr, "filtered_scores: %s\n", error.what());
    return precis::exit_code(error.kind());
  }
}

// Summaries through the public interface alone: JSON requests in, one a line, JSON results out.
// {"texts": [...], "options": {...}} gives {"summaries": [...]} or {"error": kind, "what": message}.
#include <precis/precis.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

namespace {

using Json = nlohmann::json;

// Each type of C++ for the JSON type that it is written as.
precis::GenerationValue value_of(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array() && !value.empty() && value[0].is_number_integer())
    return value.get<std::vector<int64_t>>();
  return precis::JsonText{value.dump()};
}

Json json_of(const precis::Summary& summary) {
  Json sequences = Json::array(), sources = Json::array();
  for (const precis::Sequence& sequence : summary.sequences) {
    sequences.push_back({{"summary", sequence.text},
                         {"token_ids", sequence.token_ids},
                         {"finish_reason", precis::name(sequence.finish_reason)},
                         {"output_tokens", sequence.output_tokens()},
                         {"score", sequence.score}});
  }
  for (const precis::SentenceSources& sentence : summary.sources) {
    Json passages = Json::array();
    for (const precis::Passage& passage : sentence.passages) {
      passages.push_back(
          {{"start", passage.span.begin}, {"end", passage.span.end}, {"weight", passage.weight}});
    }
    sources.push_back({{"sentence", sentence.sentence}, {"passages", passages}});
  }
  Json json = {{"id", summary.id},
               {"sequences", sequences},
               {"sources", sources},
               {"input_tokens", summary.input_tokens},
               {"windows", summary.windows},
               {"memory_rows", summary.memory_rows},
               {"cross_attention",
                {{"held_layers", summary.held_layers}, {"absorbed_layers", summary.absorbed_layers}}},
               {"total", summary.seconds.total()}};
  if (summary.seed) json["seed"] = *summary.seed;
  return json;
}

Json answer(const precis::Model& model, const Json& request) {
  const Json given = request.value("options", Json::object());
  Json logged = Json::array();
  double fraction = 0.0;
  precis::StopToken stop;
  precis::SummarizeOptions options;
  const Json settings = given.value("generation", Json::object());
  for (const auto& [key, value] : settings.items()) options.generation[key] = value_of(value);
  if (given.contains("query")) options.query = given["query"];
  if (given.contains("window")) options.window = given["window"];
  if (given.contains("memory_budget")) options.memory_budget = given["memory_budget"];
  options.explain = given.value("explain", false);
  options.log = [&](precis::LogLevel, const std::string& message) { logged.push_back(message); };
  options.progress = [&](double done, const std::string&) { fraction = done; };
  if (given.value("stop", false)) stop.request(precis::ErrorKind::kInterrupted);
  options.stop = &stop;
  Json result = Json::object(), summaries = Json::array();
  try {
    if (request.contains("text")) {
      summaries.push_back(json_of(model.summarize(request["text"].get<std::string>(), options)));
    } else {
      for (const auto& summary :
           model.summarize_all(request["texts"].get<std::vector<std::string>>(), options)) {
        summaries.push_back(json_of(summary));
      }
    }
    result["summaries"] = summaries;
  } catch (const precis::Error& error) {
    result = {{"error", precis::name(error.kind())}, {"what", error.what()}};
  }
  result["log"] = logged;
  result["fraction"] = fraction;
  return result;
}

Json tokens(const precis::Model& model, const std::string& text) {
  const precis::Encoding encoding = model.tokenizer().encode(text);
  Json offsets = Json::array();
  for (const precis::SourceSpan& span : encoding.offsets) offsets.push_back({span.begin, span.end});
  return {
      {"ids", encoding.ids}, {"offsets", offsets}, {"text", model.tokenizer().decode(encoding.ids, true)}};
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const precis::Model model =
        precis::Model::load(argv[1], {.dtype = argc > 2 ? argv[2] : "float64", .log = {}});
    for (std::string line; std::getline(std::cin, line);) {
      const Json request = Json::parse(line);
      const Json result =
          request.contains("encode") ? tokens(model, request["encode"]) : answer(model, request);
      std::cout << result.dump() << std::endl;
    }
  } catch (const precis::Error& error) {
    std::cout << Json{{"error", precis::name(error.kind())}, {"what", error.what()}}.dump() << std::endl;
    return precis::exit_code(error.kind());
  }
}

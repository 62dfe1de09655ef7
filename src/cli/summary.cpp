// Summaries as JSON, as text, and as text that comes token by token.
#include "cli/summary.h"

#include "cli/program.h"
#include "cli/sources_text.h"

namespace precis::cli {

namespace {

// What stands for bytes that are no character, or not one yet.
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

Json sources_json(const std::vector<SentenceSources>& sources) {
  Json list = Json::array();
  for (const SentenceSources& sentence : sources) {
    Json passages = Json::array();
    for (const Passage& passage : sentence.passages) {
      passages.push_back(
          {{"start", passage.span.begin}, {"end", passage.span.end}, {"weight", passage.weight}});
    }
    list.push_back({{"sentence", sentence.sentence}, {"passages", std::move(passages)}});
  }
  return list;
}

Json sequence_json(const Sequence& sequence) {
  return {{"summary", sequence.text},
          {"token_ids", sequence.token_ids},
          {"finish_reason", name(sequence.finish_reason)},
          {"output_tokens", sequence.output_tokens()},
          {"score", sequence.score}};
}

}  // namespace

Json to_json(const Summary& summary, const std::string& model, int64_t peak_bytes, bool explain) {
  const Seconds& seconds = summary.seconds;
  const Sequence& first = summary.sequences.front();
  Json json = {{"id", summary.id},
               {"summary", first.text},
               {"token_ids", first.token_ids},
               {"finish_reason", name(first.finish_reason)},
               {"model", model},
               {"input_tokens", summary.input_tokens},
               {"windows", summary.windows},
               {"memory_rows", summary.memory_rows},
               {"cross_attention",
                {{"held_layers", summary.held_layers}, {"absorbed_layers", summary.absorbed_layers}}},
               {"truncated", false},
               {"output_tokens", first.output_tokens()},
               {"seconds",
                {{"load", seconds.load},
                 {"read", seconds.read},
                 {"encode", seconds.encode},
                 {"decode", seconds.decode},
                 {"total", seconds.total()}}},
               {"peak_memory_bytes", peak_bytes}};
  if (summary.seed) json["seed"] = *summary.seed;
  if (summary.sequences.size() > 1) {
    json["sequences"] = Json::array();
    for (const Sequence& sequence : summary.sequences) json["sequences"].push_back(sequence_json(sequence));
  }
  if (explain) {
    json["seconds"]["explain"] = seconds.explain;
    json["sources"] = sources_json(summary.sources);
  }
  return json;
}

std::string to_text(const Summary& summary, const std::string& document, bool explain) {
  std::string text;
  for (size_t k = 0; k < summary.sequences.size(); ++k) {
    if (summary.sequences.size() > 1) text += "[" + std::to_string(k + 1) + "] ";
    text += summary.sequences[k].text + "\n";
  }
  if (explain) text += "\n" + describe_sources(summary.sources, document);
  return text;
}

void SummaryStream::write(std::string_view text) {
  if (!started_) before_first_();
  started_ = true;
  write_result(pending_ + std::string(text));
  flush_results();
  pending_.clear();
}

void SummaryStream::update(const generate::TokenSequence& ids) {
  std::string text = tokenizer_.decode(ids, true);
  // The bytes at the end may be the beginning of a character.
  while (text.ends_with(kReplacement)) text.resize(text.size() - kReplacement.size());
  if (text.size() <= written_) return;
  write(std::string_view(text).substr(written_));
  written_ = text.size();
}

void SummaryStream::break_off() { write("\n"); }

void SummaryStream::finish(std::string_view text) {
  write(text.substr(written_));
  written_ = text.size();
}

}  // namespace precis::cli

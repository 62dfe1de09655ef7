// An inspection's report as text.
#include "base/bytes.h"
#include "cli/inspect_report.h"
#include "cli/numbers.h"

namespace precis::cli {

namespace {

void line(std::string& text, std::string label, const std::string& value) {
  label.resize(12, ' ');
  text += label + value + "\n";
}

std::string number(const Json& value) { return grouped(value.get<int64_t>()); }

std::string joined(const Json& names) {
  std::string text;
  for (const Json& name : names) {
    text += (text.empty() ? "" : ", ") + (name.is_string() ? name.get<std::string>() : dump_json(name));
  }
  return text;
}

void add_config(std::string& text, const Json& config) {
  const auto both = [&](const char* key) {
    return dump_json(config[std::string("encoder_") + key]) + " + " +
           dump_json(config[std::string("decoder_") + key]);
  };
  line(text, "shape",
       both("layers") + " layers, width " + dump_json(config["d_model"]) + ", " + both("attention_heads") +
           " heads, feed-forward " + both("ffn_dim") + ", " + dump_json(config["max_position_embeddings"]) +
           " positions, vocabulary " + dump_json(config["vocab_size"]));
}

void add_weights(std::string& text, const std::string& label, const Json& weights) {
  line(text, label, joined(weights["files"]) + ", " + format_bytes(weights["bytes"].get<int64_t>()));
  for (const auto& [type, group] : weights["by_type"].items()) {
    line(text, "",
         type + ": " + number(group["tensors"]) + " tensors, " + number(group["elements"]) + " elements, " +
             format_bytes(group["bytes"].get<int64_t>()));
  }
}

void add_tokenizer(std::string& text, const Json& tokenizer) {
  if (tokenizer.is_null()) return line(text, "tokenizer", "none");
  std::string special;
  for (const auto& [key, token] : tokenizer["special_tokens"].items()) {
    if (token.is_null()) continue;
    special += ", " + key.substr(0, key.find('_')) + " " + token["token"].get<std::string>() + " = " +
               dump_json(token["id"]);
  }
  line(text, "tokenizer", number(tokenizer["size"]) + " tokens" + special);
  line(text, "", joined(tokenizer["files"]));
}

void add_generation(std::string& text, const Json& generation) {
  std::string settings;
  for (const auto& [key, value] : generation.items()) {
    settings += (settings.empty() ? "" : ", ") + key + " " + dump_json(value);
  }
  line(text, "generation", settings);
}

void add_checkpoint(std::string& text, const Json& checkpoint) {
  line(text, "step", number(checkpoint["step"]) + " of run " + checkpoint["run"].get<std::string>());
  const Json& best = checkpoint["best"];
  line(text, "best",
       best.is_null() ? "none yet"
                      : best["metric"].get<std::string>() + " " + dump_json(best["value"]) + " at step " +
                            number(best["step"]));
}

void add_verified(std::string& text, const Json& verified) {
  std::string what;
  if (verified.contains("weight_bytes")) {
    what = format_bytes(verified["weight_bytes"].get<int64_t>()) + " of weights read, all finite";
  } else {
    what = joined(verified["files"]);
  }
  if (verified.contains("digests")) {
    what += verified["digests"].get<bool>() ? "; every digest of the manifest matches" : "; no manifest";
  }
  if (verified.contains("unexpected")) {
    what += "; complete against config.json";
    const Json& unexpected = verified["unexpected"];
    if (!unexpected.empty()) what += "; unexpected weights: " + joined(unexpected);
  }
  line(text, "verified", what);
}

void add_tensors(std::string& text, const Json& weights) {
  line(text, "tensors", "");
  for (const Json& tensor : weights["tensors"]) {
    line(text, "  " + tensor["type"].get<std::string>(),
         tensor["name"].get<std::string>() + " [" + joined(tensor["shape"]) + "]");
  }
}

}  // namespace

std::string inspect_text(const Json& report) {
  std::string text;
  std::string kind = report["kind"].get<std::string>();
  if (report.contains("model_type")) kind += " (" + report["model_type"].get<std::string>() + ")";
  line(text, "path", report["path"].get<std::string>());
  line(text, "kind", kind);
  if (report.contains("checkpoint")) add_checkpoint(text, report["checkpoint"]);
  if (report.contains("config")) {
    add_config(text, report["config"]);
    line(text, "parameters", number(report["parameters"]));
  }
  if (report.contains("weights")) add_weights(text, "weights", report["weights"]);
  if (report.contains("tied") && !report["tied"]["names"].empty()) {
    line(text, "tied", joined(report["tied"]["names"]));
    line(text, "", "stored as " + joined(report["tied"]["stored"]));
  }
  if (report.contains("optimizer")) add_weights(text, "optimizer", report["optimizer"]);
  if (report.contains("tokenizer")) add_tokenizer(text, report["tokenizer"]);
  if (report.contains("generation")) add_generation(text, report["generation"]);
  if (report.contains("manifest") && !report["manifest"].is_null()) {
    line(text, "manifest", std::to_string(report["manifest"]["files"].size()) + " files");
  }
  if (!report["verified"].is_null()) add_verified(text, report["verified"]);
  if (report.contains("weights")) add_tensors(text, report["weights"]);
  return text;
}

}  // namespace precis::cli

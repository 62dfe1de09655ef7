// Readers of tokenizer.json and of vocab.json with merges.txt: what is known is taken, the rest is an error.
#include "text/vocabulary.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string_view>
#include <unordered_set>

namespace precis {
namespace {

[[noreturn]] void fail(const std::string& where, const std::string& what, const std::string& expected = {},
                       const std::string& found = {}) {
  throw Error(ErrorKind::kModel, {.what = what, .where = where, .expected = expected, .found = found});
}

void require_object(const Json& json, const std::string& field, const std::string& where) {
  if (!json.is_object()) fail(where, "`" + field + "` is not an object", "an object", shown(json));
}

void require_known_keys(const Json& object, const std::string& field, const std::string& where,
                        std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      fail(where, "`" + field + "` has the unknown key `" + key + "`");
    }
  }
}

bool flag(const Json& object, const char* key, bool otherwise, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if (!found->is_boolean()) fail(where, std::string("`") + key + "` is not true or false", "", shown(*found));
  return found->get<bool>();
}

// The `type` of a component, which must be one of `known`.
std::string component_type(const Json& component, const std::string& field, const std::string& where,
                           std::initializer_list<std::string_view> known) {
  std::string expected;
  for (const auto& name : known) expected += (expected.empty() ? "" : ", ") + std::string(name);
  if (!component.is_object()) fail(where, "`" + field + "` is not a component", expected, shown(component));
  const auto type = component.find("type");
  if (type == component.end() || !type->is_string() ||
      std::find(known.begin(), known.end(), type->get_ref<const std::string&>()) == known.end()) {
    fail(where, "`" + field + "` is of a type that is not built", expected,
         type == component.end() ? "no type" : shown(*type));
  }
  return type->get<std::string>();
}

std::vector<std::pair<std::string, int32_t>> parse_vocabulary(const Json& json, const std::string& where) {
  require_object(json, "vocab", where);
  std::vector<std::pair<std::string, int32_t>> vocabulary;
  vocabulary.reserve(json.size());
  for (const auto& [token, id] : json.items()) {
    const bool fits = id.is_number_integer() &&
                      (id.is_number_unsigned() ? id.get<uint64_t>() < std::numeric_limits<int32_t>::max()
                                               : id.get<int64_t>() >= 0);
    if (!fits) fail(where, "the id of the token " + shown(token), "an integer from 0 to 2^31 - 2", shown(id));
    vocabulary.emplace_back(token, id.get<int32_t>());
  }
  return vocabulary;
}

std::pair<std::string, std::string> split_merge(std::string_view line, const std::string& where) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    fail(where, "a merge is not two tokens with a space between", "", shown(std::string(line)));
  }
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

// Comments of this form may stand anywhere in a list of merges.
bool is_version_line(std::string_view line) { return line.starts_with("#version"); }

std::vector<std::pair<std::string, std::string>> parse_merges(const Json& json, const std::string& where) {
  if (!json.is_array()) fail(where, "`merges` is not a list", "a list", shown(json));
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(json.size());
  const bool as_text = !json.empty() && json.front().is_string();
  for (const Json& merge : json) {
    if (as_text && merge.is_string()) {
      const auto& line = merge.get_ref<const std::string&>();
      if (!is_version_line(line)) merges.push_back(split_merge(line, where));
    } else if (!as_text && merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      fail(where, "a merge is malformed", as_text ? "\"a b\", as the first" : "a pair of tokens",
           shown(merge));
    }
  }
  return merges;
}

void parse_model(const Json& model, TokenizerDefinition& definition) {
  const std::string& where = definition.where;
  require_object(model, "model", where);
  if (model.contains("type")) component_type(model, "model", where, {"BPE"});
  require_known_keys(model, "model", where,
                     {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                      "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
  for (const char* key : {"vocab", "merges"}) {
    if (!model.contains(key)) fail(where, std::string("`model` lacks `") + key + "`");
  }
  if (const auto dropout = model.find("dropout"); dropout != model.end() && !dropout->is_null() &&
                                                  !(dropout->is_number() && dropout->get<double>() == 0.0)) {
    fail(where, "`model.dropout` is not built", "null or 0", shown(*dropout));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto affix = model.find(key);
    if (affix != model.end() && !affix->is_null() && *affix != "") {
      fail(where, std::string("`model.") + key + "` is not built", "null or empty", shown(*affix));
    }
  }
  if (const auto unknown = model.find("unk_token"); unknown != model.end() && !unknown->is_null()) {
    if (!unknown->is_string())
      fail(where, "`model.unk_token` is not a token", "a string or null", shown(*unknown));
    definition.unknown = unknown->get<std::string>();
  }
  if (flag(model, "byte_fallback", false, where))
    fail(where, "`model.byte_fallback` is not built", "false", "true");
  definition.fuse_unknown = flag(model, "fuse_unk", false, where);
  definition.ignore_merges = flag(model, "ignore_merges", false, where);
  definition.vocabulary = parse_vocabulary(model["vocab"], where);
  definition.merges = parse_merges(model["merges"], where);
}

// Post-processors put special tokens around a text and trim offsets: encoding does neither.
void check_post_processor(const Json& component, const std::string& where) {
  const std::string type =
      component_type(component, "post_processor", where,
                     {"RobertaProcessing", "BertProcessing", "TemplateProcessing", "ByteLevel", "Sequence"});
  if (type != "Sequence") return;
  const auto parts = component.find("processors");
  if (parts == component.end() || !parts->is_array())
    fail(where, "`post_processor` lacks a list of processors");
  for (const Json& part : *parts) check_post_processor(part, where);
}

}  // namespace

AddedToken parse_added_token(const Json& json, const std::string& where) {
  require_object(json, "added token", where);
  const auto content = json.find("content");
  if (content == json.end() || !content->is_string())
    fail(where, "an added token lacks its content", "", shown(json));
  AddedToken token;
  token.id = -1;
  token.content = content->get<std::string>();
  if (token.content.empty()) fail(where, "an added token is empty");
  token.single_word = flag(json, "single_word", false, where);
  token.lstrip = flag(json, "lstrip", false, where);
  token.rstrip = flag(json, "rstrip", false, where);
  token.special = flag(json, "special", false, where);
  token.normalized = flag(json, "normalized", !token.special, where);
  return token;
}

TokenizerDefinition parse_tokenizer_json(const Json& json, const std::string& where) {
  TokenizerDefinition definition;
  definition.where = where;
  require_object(json, "the file", where);
  // Truncation and padding are settings of a call, not of the vocabulary: nothing is ever cut here.
  require_known_keys(json, "the file", where,
                     {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                      "post_processor", "decoder", "model"});
  if (json.contains("version") && json["version"] != "1.0") {
    fail(where, "unknown version", "\"1.0\"", shown(json["version"]));
  }
  if (!json.contains("model")) fail(where, "`model` is missing");
  parse_model(json["model"], definition);
  if (json.contains("normalizer") && !json["normalizer"].is_null()) {
    const Json& normalizer = json["normalizer"];
    fail(where, "`normalizer` is not built", "null",
         shown(normalizer.is_object() && normalizer.contains("type") ? normalizer["type"] : normalizer));
  }
  const Json none;
  const Json& pre_tokenizer = json.contains("pre_tokenizer") ? json["pre_tokenizer"] : none;
  component_type(pre_tokenizer, "pre_tokenizer", where, {"ByteLevel"});
  require_known_keys(pre_tokenizer, "pre_tokenizer", where,
                     {"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (!pre_tokenizer.contains("add_prefix_space")) fail(where, "`pre_tokenizer` lacks `add_prefix_space`");
  definition.add_prefix_space = flag(pre_tokenizer, "add_prefix_space", false, where);
  definition.split_words = flag(pre_tokenizer, "use_regex", true, where);
  component_type(json.contains("decoder") ? json["decoder"] : none, "decoder", where, {"ByteLevel"});
  if (json.contains("post_processor") && !json["post_processor"].is_null()) {
    check_post_processor(json["post_processor"], where);
  }
  if (!json.contains("added_tokens")) return definition;
  if (!json["added_tokens"].is_array()) fail(where, "`added_tokens` is not a list");
  std::unordered_set<std::string> contents;
  for (const Json& item : json["added_tokens"]) {
    AddedToken token = parse_added_token(item, where);
    // Only the other files have defaults for these.
    for (const char* key : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
      if (!item.contains(key))
        fail(where, "the added token " + shown(token.content) + " lacks `" + key + "`");
    }
    const auto id = item.find("id");
    if (id == item.end() || !id->is_number_unsigned() ||
        id->get<uint64_t>() >= std::numeric_limits<int32_t>::max()) {
      fail(where, "the id of the added token " + shown(token.content), "an integer from 0 to 2^31 - 2",
           id == item.end() ? "none" : shown(*id));
    }
    token.id = id->get<int32_t>();
    if (!contents.insert(token.content).second) {
      fail(where, "the added token " + shown(token.content) + " is there twice");
    }
    definition.added.push_back(std::move(token));
  }
  return definition;
}

TokenizerDefinition parse_vocab_and_merges(const Json& vocab, const std::string& merges,
                                           const std::string& vocab_where, const std::string& merges_where) {
  TokenizerDefinition definition;
  definition.where = vocab_where;
  definition.vocabulary = parse_vocabulary(vocab, vocab_where);
  int64_t number = 0;
  for (size_t begin = 0; begin < merges.size();) {
    const size_t newline = std::min(merges.find('\n', begin), merges.size());
    std::string_view line(merges.data() + begin, newline - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    begin = newline + 1;
    ++number;
    if (is_version_line(line)) continue;
    definition.merges.push_back(split_merge(line, merges_where + ":" + std::to_string(number)));
  }
  return definition;
}

}  // namespace precis

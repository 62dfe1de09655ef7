// Loads a tokenizer from a Hugging Face model directory and makes it ready to encode.
#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "io/json.h"
#include "io/read_file.h"
#include "text/byte_level.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"
#include "text/vocabulary.h"

namespace precis {
namespace {

// In the order in which `transformers` adds those that are missing.
struct NamedToken {
  const char* key;
  const char* content;  // BART's
};
constexpr NamedToken kNamedTokens[] = {
    {"bos_token", "<s>"},   {"eos_token", "</s>"}, {"unk_token", "<unk>"},  {"sep_token", "</s>"},
    {"pad_token", "<pad>"}, {"cls_token", "<s>"},  {"mask_token", "<mask>"}};

constexpr const char* kFileNames[] = {"tokenizer.json",    "vocab.json",
                                      "merges.txt",        "special_tokens_map.json",
                                      "added_tokens.json", "tokenizer_config.json"};

[[noreturn]] void fail(const std::string& where, const std::string& what, const std::string& expected = {},
                       const std::string& found = {}, const std::string& hint = {}) {
  throw Error(ErrorKind::kModel,
              {.what = what, .where = where, .expected = expected, .found = found, .hint = hint});
}

// The files of a directory that say something about its tokenizer.
class Files {
 public:
  explicit Files(const std::filesystem::path& directory) : directory_(directory) {
    for (const char* name : kFileNames) {
      if (has_entry(directory / name)) {
        files_.push_back({name, read_file(directory / name, ErrorKind::kModel)});
      }
    }
  }

  std::string where(const std::string& name) const { return (directory_ / name).string(); }
  const std::string* bytes(const std::string& name) const {
    const auto found = std::find_if(files_.begin(), files_.end(),
                                    [&](const TokenizerFile& file) { return file.name == name; });
    return found == files_.end() ? nullptr : &found->bytes;
  }
  // An empty object where the file is missing.
  Json json(const std::string& name) const {
    const std::string* text = bytes(name);
    if (text == nullptr) return Json::object();
    Json parsed = parse_json(*text, where(name), ErrorKind::kModel);
    if (!parsed.is_object()) fail(where(name), "not an object");
    return parsed;
  }
  std::vector<TokenizerFile> take() { return std::move(files_); }

 private:
  std::filesystem::path directory_;
  std::vector<TokenizerFile> files_;
};

// What the small files beside the vocabulary say.
struct Settings {
  std::map<std::string, AddedToken> named;  // by key; an empty content is an explicit null
  std::vector<AddedToken> extra;            // with the ids they must get, -1 where any will do
  std::optional<bool> add_prefix_space;
};

AddedToken special_token(const Json& json, const std::string& where) {
  AddedToken token;
  token.id = -1;
  token.normalized = false;
  if (json.is_string()) {
    token.content = json.get<std::string>();
  } else if (!json.is_null()) {
    token = parse_added_token(json, where);
  }
  token.special = true;
  return token;
}

void read_named(const Json& json, const std::string& where, Settings& settings) {
  for (const NamedToken& named : kNamedTokens) {
    if (json.contains(named.key)) settings.named[named.key] = special_token(json[named.key], where);
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!json.contains(key) || !json[key].is_array()) continue;
    for (const Json& token : json[key]) settings.extra.push_back(special_token(token, where));
  }
}

int32_t parse_id(const std::string& text, const std::string& where) {
  const bool digits =
      !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) fail(where, "the id of an added token is not a number", "", text);
  return std::stoi(text);
}

Settings read_settings(const Files& files) {
  Settings settings;
  const std::string config_where = files.where("tokenizer_config.json");
  const Json config = files.json("tokenizer_config.json");
  read_named(config, config_where, settings);
  if (config.contains("add_prefix_space") && config["add_prefix_space"].is_boolean()) {
    settings.add_prefix_space = config["add_prefix_space"].get<bool>();
  }
  if (config.contains("added_tokens_decoder")) {
    // Newer directories say it all here, and the two older files are not looked at.
    std::map<int32_t, AddedToken> by_id;
    for (const auto& [id, token] : config["added_tokens_decoder"].items()) {
      AddedToken parsed = parse_added_token(token, config_where);
      parsed.id = parse_id(id, config_where);
      by_id[parsed.id] = parsed;
    }
    std::vector<AddedToken> listed;
    for (auto& [id, token] : by_id) listed.push_back(std::move(token));
    settings.extra.insert(settings.extra.begin(), listed.begin(), listed.end());
    return settings;
  }
  read_named(files.json("special_tokens_map.json"), files.where("special_tokens_map.json"), settings);
  const std::string added_where = files.where("added_tokens.json");
  std::vector<AddedToken> listed;
  const Json added = files.json("added_tokens.json");
  for (const auto& [content, id] : added.items()) {
    AddedToken token;
    token.content = content;
    if (content.empty()) fail(added_where, "an added token is empty");
    token.id = parse_id(dump_json(id), added_where);
    token.special = std::any_of(settings.named.begin(), settings.named.end(),
                                [&](const auto& named) { return named.second.content == token.content; });
    token.normalized = !token.special;
    listed.push_back(std::move(token));
  }
  std::sort(listed.begin(), listed.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  settings.extra.insert(settings.extra.begin(), listed.begin(), listed.end());
  return settings;
}

// A list of tokens, each content once.
class TokenList {
 public:
  explicit TokenList(std::vector<AddedToken>& tokens) : tokens_(tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) index_.emplace(tokens[i].content, i);
  }

  // Adds a token unless its content is there; `replace` lets it change the flags of one that is.
  void add(const AddedToken& token, bool replace) {
    if (token.content.empty()) return;
    const auto [place, is_new] = index_.try_emplace(token.content, tokens_.size());
    if (is_new) {
      tokens_.push_back(token);
    } else if (replace) {
      AddedToken& known = tokens_[place->second];
      const AddedToken before = known;
      known = token;
      known.special = token.special || before.special;
      if (known.id < 0) known.id = before.id;
    }
  }

 private:
  std::vector<AddedToken>& tokens_;
  std::unordered_map<std::string, size_t> index_;
};

class Builder {
 public:
  explicit Builder(TokenizerDefinition definition) : definition_(std::move(definition)) {}

  std::shared_ptr<Tokenizer::Parts> build() {
    add_vocabulary();
    add_encoder();
    add_added_tokens();
    parts_->add_prefix_space = definition_.add_prefix_space;
    parts_->split_words = definition_.split_words;
    return parts_;
  }

 private:
  void add(const std::string& token, int32_t id) {
    const auto [other, fresh] = parts_->tokens.emplace(id, token);
    if (!fresh) {
      fail(definition_.where, "the id " + std::to_string(id) + " belongs to two tokens", "",
           other->second + " and " + token);
    }
    parts_->vocabulary.emplace(token, id);
    parts_->id_limit = std::max(parts_->id_limit, id + 1);
  }

  void add_vocabulary() {
    if (definition_.vocabulary.empty()) fail(definition_.where, "the vocabulary is empty");
    for (const auto& [token, id] : definition_.vocabulary) add(token, id);
  }

  void add_encoder() {
    const auto& vocabulary = parts_->vocabulary;
    const auto id_of = [&](const std::string& token) {
      const auto found = vocabulary.find(token);
      if (found == vocabulary.end())
        fail(definition_.where, "a merge names a token that is not in the vocabulary", "", token);
      return found->second;
    };
    std::vector<Merge> merges;
    merges.reserve(definition_.merges.size());
    for (const auto& [left, right] : definition_.merges) {
      merges.push_back({id_of(left), id_of(right), id_of(left + right)});
    }
    BytePairEncoder::Options options;
    for (int byte = 0; byte < 256; ++byte) {
      const auto found = vocabulary.find(std::string(byte_character(static_cast<unsigned char>(byte))));
      options.bytes[byte] = found == vocabulary.end() ? -1 : found->second;
    }
    if (definition_.unknown && vocabulary.contains(*definition_.unknown)) {
      options.unknown = vocabulary.at(*definition_.unknown);
    }
    options.fuse_unknown = definition_.fuse_unknown;
    parts_->encoder = BytePairEncoder(options, merges);
    parts_->ignore_merges = definition_.ignore_merges;
    if (definition_.ignore_merges) parts_->model_words = vocabulary;
  }

  // A token that the vocabulary lacks gets the next id from the vocabulary's size on, as in `tokenizers`; a
  // file that says otherwise would mean other ids here than there.
  void add_added_tokens() {
    auto next = static_cast<int32_t>(definition_.vocabulary.size());
    for (AddedToken& token : definition_.added) {
      const auto known = parts_->vocabulary.find(token.content);
      const int32_t id = known != parts_->vocabulary.end() ? known->second : next;
      if (token.id >= 0 && token.id != id) {
        fail(definition_.where, "the added token " + token.content + " has an id that it would not get",
             std::to_string(id), std::to_string(token.id), "give the tokens ids without gaps");
      }
      token.id = id;
      if (known == parts_->vocabulary.end()) {
        add(token.content, id);
        ++next;
      }
      if (token.special) parts_->special.insert(id);
    }
    parts_->added = AddedTokens(definition_.added);
  }

  TokenizerDefinition definition_;
  std::shared_ptr<Tokenizer::Parts> parts_ = std::make_shared<Tokenizer::Parts>();
};

}  // namespace

bool Tokenizer::is_there(const std::filesystem::path& directory) {
  return has_entry(directory / "tokenizer.json") || has_entry(directory / "vocab.json");
}

Tokenizer Tokenizer::load(const std::filesystem::path& directory) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    fail(directory.string(), "no such directory", "a model or tokenizer directory");
  }
  Files files(directory);
  const Settings settings = read_settings(files);
  const bool one_file = files.bytes("tokenizer.json") != nullptr;
  TokenizerDefinition definition;
  if (one_file) {
    definition = parse_tokenizer_json(files.json("tokenizer.json"), files.where("tokenizer.json"));
    if (settings.add_prefix_space && *settings.add_prefix_space != definition.add_prefix_space) {
      fail(files.where("tokenizer_config.json"), "`add_prefix_space` contradicts tokenizer.json",
           definition.add_prefix_space ? "true" : "false", *settings.add_prefix_space ? "true" : "false");
    }
  } else if (files.bytes("vocab.json") != nullptr && files.bytes("merges.txt") != nullptr) {
    definition = parse_vocab_and_merges(files.json("vocab.json"), *files.bytes("merges.txt"),
                                        files.where("vocab.json"), files.where("merges.txt"));
    definition.add_prefix_space = settings.add_prefix_space.value_or(false);
  } else {
    fail(directory.string(), "no tokenizer", "tokenizer.json, or vocab.json and merges.txt");
  }
  TokenList added(definition.added);
  for (const AddedToken& token : settings.extra) added.add(token, token.id >= 0);
  const auto named = [&](const std::string& key, const char* otherwise) {
    const auto found = settings.named.find(key);
    if (found != settings.named.end()) return found->second;
    return special_token(otherwise, "");
  };
  for (const NamedToken& token : kNamedTokens) {
    if (!one_file || settings.named.contains(token.key)) {
      added.add(named(token.key, token.content), false);
    }
  }
  const std::shared_ptr<Parts> parts = Builder(std::move(definition)).build();
  const auto id_of = [&](const char* key, const char* otherwise) -> std::optional<int32_t> {
    const auto found = parts->vocabulary.find(named(key, otherwise).content);
    if (found == parts->vocabulary.end()) return std::nullopt;
    return found->second;
  };
  parts->ids = {id_of("bos_token", "<s>"), id_of("eos_token", "</s>"), id_of("pad_token", "<pad>"),
                id_of("unk_token", "<unk>"), id_of("mask_token", "<mask>")};
  parts->files = files.take();
  return Tokenizer(parts);
}

}  // namespace precis

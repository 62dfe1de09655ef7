// Writes a trained vocabulary as the files of a Hugging Face tokenizer.
#include "io/json.h"
#include "text/bpe_trainer.h"

namespace precis {
namespace {

constexpr const char* kSpecialTokens[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};

Json added_token(int32_t id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

Json byte_level(bool add_prefix_space) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", true}};
}

}  // namespace

std::vector<TokenizerFile> tokenizer_files(const TrainedVocabulary& vocabulary) {
  Json vocab = Json::object();
  // A look-up by key walks the whole object: the pairs are put at its end instead.
  auto& entries = vocab.get_ref<Json::object_t&>();
  entries.reserve(vocabulary.tokens.size());
  Json added = Json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    entries.push_back({token, Json(id)});
    for (const char* special : kSpecialTokens) {
      if (token == special) added.push_back(added_token(static_cast<int32_t>(id), token));
    }
  }
  Json merges = Json::array();
  std::string merges_text = "#version: 0.2\n";
  for (const auto& [left, right] : vocabulary.merges) {
    merges.push_back(Json::array({left, right}));
    merges_text += left + " " + right + "\n";
  }
  const Json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level(false)},
      {"post_processor",
       {{"type", "RobertaProcessing"},
        {"sep", Json::array({"</s>", 2})},
        {"cls", Json::array({"<s>", 0})},
        {"trim_offsets", true},
        {"add_prefix_space", false}}},
      {"decoder", byte_level(true)},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", ""},
        {"end_of_word_suffix", ""},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", merges}}},
  };
  const Json config = {
      {"tokenizer_class", "BartTokenizer"},
      {"add_prefix_space", false},
      {"bos_token", "<s>"},
      {"eos_token", "</s>"},
      {"sep_token", "</s>"},
      {"cls_token", "<s>"},
      {"unk_token", "<unk>"},
      {"pad_token", "<pad>"},
      {"mask_token", "<mask>"},
  };
  return {{"tokenizer.json", dump_json(tokenizer, 1) + "\n"},
          {"vocab.json", dump_json(vocab) + "\n"},
          {"merges.txt", merges_text},
          {"tokenizer_config.json", dump_json(config, 2) + "\n"}};
}

}  // namespace precis

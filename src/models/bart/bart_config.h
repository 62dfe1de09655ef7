// config.json of a BART: every field that changes the forward pass or generation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "io/json.h"

namespace precis::models {

// Defaults are transformers' BartConfig.
struct BartConfig {
  int64_t vocab_size = 50265;
  int64_t max_position_embeddings = 1024;
  int64_t d_model = 1024;
  int64_t encoder_layers = 12;
  int64_t encoder_attention_heads = 16;
  int64_t encoder_ffn_dim = 4096;
  int64_t decoder_layers = 12;
  int64_t decoder_attention_heads = 16;
  int64_t decoder_ffn_dim = 4096;
  std::string activation_function = "gelu";
  double dropout = 0.1;
  double attention_dropout = 0.0;
  double activation_dropout = 0.0;
  double init_std = 0.02;
  bool scale_embedding = false;
  bool tie_word_embeddings = true;
  int64_t pad_token_id = 1;
  int64_t bos_token_id = 0;
  int64_t eos_token_id = 2;  // the first where the file has a list
  int64_t decoder_start_token_id = 2;
  Json raw;  // the file as read; unknown keys are kept and written back

  // Throws Error{kModel} naming field, value and range; nothing is allocated from a number before it is
  // checked.
  static BartConfig from_json(const Json& raw, const std::string& where);
  static BartConfig load(const std::filesystem::path& model_directory);
  // `raw` with the fields above put in, `model_type` "bart" and `architectures`; without `dtype`, which is
  // the weights' affair (model_files.h).
  Json to_json() const;

  // Elements of all weights as they are saved; final_logits_bias is not counted.
  int64_t parameter_count() const;
};

}  // namespace precis::models

// A small random BART in float64 whose every part matters, for tests.
#pragma once

#include <ATen/ATen.h>

#include "base/random.h"
#include "memory/gradient.h"
#include "models/bart/bart.h"

namespace precis {

inline models::BartConfig small_config() {
  models::BartConfig config;
  config.vocab_size = 53;
  config.max_position_embeddings = 40;
  config.d_model = 16;
  config.encoder_layers = 2;
  config.encoder_attention_heads = 4;
  config.encoder_ffn_dim = 24;
  config.decoder_layers = 2;
  config.decoder_attention_heads = 2;
  config.decoder_ffn_dim = 20;
  config.init_std = 0.5;
  config.dropout = 0;
  return config;
}

// Biases and norms are moved off 0 and 1, so that a forgotten one shows.
inline models::BartModel small_bart(const models::BartConfig& config = small_config()) {
  models::BartModel model = models::BartModel::initialize(config, 7, at::kDouble);
  at::Generator generator = at::detail::createCPUGenerator(11);
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : model.parameters()) {
    if (parameter.dim() == 1)
      parameter.add_(at::randn(parameter.sizes(), generator, parameter.options()).mul_(0.1));
  }
  return model;
}

inline memory::Example example(int64_t text, int64_t target, uint64_t key, int64_t query = 0) {
  CounterRandom random{combine(99, key)};
  memory::Example result;
  const auto fill = [&random](std::vector<int32_t>& ids, int64_t count) {
    for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(4 + random.below(49)));
  };
  fill(result.document.text, text);
  fill(result.document.query, query);
  result.target.push_back(0);
  fill(result.target, target);
  result.target.push_back(2);
  result.key = key;
  result.id = std::to_string(key);
  return result;
}

}  // namespace precis

// BART assembled from named tensors, and its two forward passes.
#include "models/bart/bart.h"

#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "base/random.h"

namespace precis::models {

namespace {

// Learned positions start at row 2 of their table, as the first BART's did behind its padding row.
constexpr int64_t kPositionOffset = 2;

bool is_norm(const std::string& name) {
  return name.find("layer_norm.") != std::string::npos ||
         name.find("layernorm_embedding.") != std::string::npos;
}

bool is_token_embedding(const std::string& name) {
  return name == kSharedEmbedding || name.find("embed_tokens.weight") != std::string::npos;
}

}  // namespace

BartModel::BartModel(const BartConfig& config, at::ScalarType dtype, const TensorSource& source)
    : config_(config), dtype_(dtype) {
  const int64_t D = config.d_model, V = config.vocab_size;
  const auto take = [&](const std::string& name, at::IntArrayRef shape) {
    parameters_.emplace_back(name, source(name, shape));
    return parameters_.back().second;
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    Linear result;
    result.weight = take(name + ".weight", {out, in});
    result.bias = take(name + ".bias", {out});
    return result;
  };
  const auto norm = [&](const std::string& name) {
    LayerNorm result;
    result.weight = take(name + ".weight", {D});
    result.bias = take(name + ".bias", {D});
    return result;
  };
  const auto attention = [&](const std::string& name) {
    AttentionWeights result;
    result.query = linear(name + ".q_proj", D, D);
    result.key = linear(name + ".k_proj", D, D);
    result.value = linear(name + ".v_proj", D, D);
    result.output = linear(name + ".out_proj", D, D);
    return result;
  };
  const auto feed_forward = [&](const std::string& name, int64_t F) {
    FeedForward result;
    result.inner = linear(name + ".fc1", F, D);
    result.outer = linear(name + ".fc2", D, F);
    result.activation = nn::find_activation(config.activation_function);
    return result;
  };

  // Not tied, the shared embedding is only a name that transformers wants to find in the file.
  shared_VD_ = config.tie_word_embeddings ? take(kSharedEmbedding, {V, D}) : source(kSharedEmbedding, {V, D});
  const auto embedding = [&](const std::string& name) {
    return config.tie_word_embeddings ? shared_VD_ : take(name, {V, D});
  };
  encoder_tokens_VD_ = embedding("model.encoder.embed_tokens.weight");
  encoder_positions_ =
      take("model.encoder.embed_positions.weight", {config.max_position_embeddings + kPositionOffset, D});
  encoder_embedding_norm_ = norm("model.encoder.layernorm_embedding");
  for (int64_t i = 0; i < config.encoder_layers; ++i) {
    const std::string name = "model.encoder.layers." + std::to_string(i);
    EncoderLayer layer;
    layer.heads = config.encoder_attention_heads;
    layer.self_attention = attention(name + ".self_attn");
    layer.self_attention_norm = norm(name + ".self_attn_layer_norm");
    layer.feed_forward = feed_forward(name, config.encoder_ffn_dim);
    layer.final_norm = norm(name + ".final_layer_norm");
    encoder_layers_.push_back(std::move(layer));
  }
  decoder_tokens_VD_ = embedding("model.decoder.embed_tokens.weight");
  decoder_positions_ =
      take("model.decoder.embed_positions.weight", {config.max_position_embeddings + kPositionOffset, D});
  decoder_embedding_norm_ = norm("model.decoder.layernorm_embedding");
  for (int64_t i = 0; i < config.decoder_layers; ++i) {
    const std::string name = "model.decoder.layers." + std::to_string(i);
    DecoderLayer layer;
    layer.heads = config.decoder_attention_heads;
    layer.self_attention = attention(name + ".self_attn");
    layer.self_attention_norm = norm(name + ".self_attn_layer_norm");
    const AttentionWeights cross = attention(name + ".encoder_attn");
    layer.cross_query = cross.query;
    layer.cross_output = cross.output;
    layer.cross = {cross.key.weight, cross.key.bias, cross.value.weight, cross.value.bias, layer.heads};
    layer.cross_attention_norm = norm(name + ".encoder_attn_layer_norm");
    layer.feed_forward = feed_forward(name, config.decoder_ffn_dim);
    layer.final_norm = norm(name + ".final_layer_norm");
    decoder_layers_.push_back(std::move(layer));
  }
  head_.weight = embedding("lm_head.weight");
  head_.bias = source("final_logits_bias", {1, V}).view({V});
  compute_in(dtype);
}

BartModel BartModel::initialize(const BartConfig& config, uint64_t seed, at::ScalarType dtype) {
  uint64_t index = 0;
  return BartModel(config, dtype, [&](const std::string& name, at::IntArrayRef shape) {
    const at::TensorOptions options = at::TensorOptions().dtype(dtype);
    if (name == "final_logits_bias") return at::zeros(shape, options);
    if (is_norm(name) && name.ends_with(".weight")) return at::ones(shape, options);
    if (name.ends_with(".bias")) return at::zeros(shape, options);
    at::Generator generator = at::detail::createCPUGenerator(combine(seed, ++index));
    at::Tensor weight =
        at::normal(0.0, config.init_std, shape, generator, options.dtype(at::kDouble)).to(dtype);
    if (is_token_embedding(name) && config.pad_token_id < config.vocab_size)
      weight[config.pad_token_id].zero_();
    return weight;
  });
}

void BartModel::compute_in(at::ScalarType type) {
  activation_type_ = type;
  for (EncoderLayer& layer : encoder_layers_) layer.products = type;
  for (DecoderLayer& layer : decoder_layers_) layer.products = type;
}

void BartModel::to(at::Device device) {
  if (device == this->device()) return;
  const std::vector<std::pair<std::string, at::Tensor>> named = state();
  const std::map<std::string, at::Tensor> own(named.begin(), named.end());
  BartModel moved(config_, dtype_,
                  [&](const std::string& name, at::IntArrayRef) { return own.at(name).detach().to(device); });
  moved.compute_in(activation_type_);
  *this = std::move(moved);
}

void BartModel::set_requires_grad(bool on) {
  for (auto& [name, parameter] : parameters_) parameter.requires_grad_(on);
}

std::vector<std::pair<std::string, at::Tensor>> BartModel::state() const {
  std::vector<std::pair<std::string, at::Tensor>> tensors = parameters_;
  if (!config_.tie_word_embeddings) tensors.emplace_back(kSharedEmbedding, shared_VD_);
  tensors.emplace_back("final_logits_bias", head_.bias.view({1, -1}));
  return tensors;
}

at::Tensor BartModel::embed(const at::Tensor& token_weight, const at::Tensor& position_weight,
                            const LayerNorm& norm, const at::Tensor& ids_BS, int64_t first_position) const {
  // A tied embedding that was packed is the head's weight alone.
  at::Tensor states = token_weight.defined() ? at::embedding(token_weight, ids_BS, config_.pad_token_id)
                                             : nn::packed_rows(head_.packed, ids_BS);
  if (config_.scale_embedding) states = states.mul(std::sqrt(static_cast<double>(config_.d_model)));
  const at::Tensor positions = position_weight.narrow(0, first_position + kPositionOffset, ids_BS.size(1));
  return apply(norm, states + positions);
}

at::Tensor BartModel::encode(const at::Tensor& ids_WC, const std::vector<int64_t>& lengths_W,
                             const nn::Dropout& dropout, EncoderGraph graph) const {
  const auto mask = nn::AttentionMask::padding(lengths_W, ids_WC.size(1), device());
  at::Tensor states = embed(encoder_tokens_VD_, encoder_positions_, encoder_embedding_norm_, ids_WC, 0);
  states = nn::dropout(states, dropout.hidden, dropout.rows, nn::dropout_site(kEncoderEmbedding, 0));
  if (at::GradMode::is_enabled() && graph != EncoderGraph::kAutograd) {
    return encode_with_graph(encoder_layers_, states, mask, dropout, graph).to(activation_type_);
  }
  for (size_t i = 0; i < encoder_layers_.size(); ++i) {
    states = encoder_layer(encoder_layers_[i], static_cast<int64_t>(i), states, mask, dropout);
  }
  return states.to(activation_type_);
}

at::Tensor BartModel::decode(const at::Tensor& input_ids_BS, nn::CrossAttention& memory,
                             const nn::Dropout& dropout, DecoderCache* cache) const {
  const int64_t first = cache == nullptr ? 0 : cache->length, S = input_ids_BS.size(1);
  at::Tensor states =
      embed(decoder_tokens_VD_, decoder_positions_, decoder_embedding_norm_, input_ids_BS, first);
  states = nn::dropout(states, dropout.hidden, dropout.rows, nn::dropout_site(kDecoderEmbedding, 0));
  nn::AttentionMask mask;
  mask.causal = S > 1;
  if (S > 1 && first > 0) {  // several positions after some that are cached: no square causal mask
    mask.causal = false;
    mask.keys_B11K =
        at::ones({S, first + S}, states.options().dtype(at::kBool)).tril(first).view({1, 1, S, first + S});
  }
  for (size_t i = 0; i < decoder_layers_.size(); ++i) {
    const auto store = [&](const at::Tensor& key,
                           const at::Tensor& value) -> std::pair<at::Tensor, at::Tensor> {
      if (cache == nullptr) return {key, value};
      cache->keys_BHSE[i].narrow(2, first, S).copy_(key);
      cache->values_BHSE[i].narrow(2, first, S).copy_(value);
      return {cache->keys_BHSE[i].narrow(2, 0, first + S), cache->values_BHSE[i].narrow(2, 0, first + S)};
    };
    states = decoder_layer(decoder_layers_[i], static_cast<int64_t>(i), states, mask, store, memory, dropout);
  }
  if (cache != nullptr) cache->length += S;
  return states.to(activation_type_);
}

DecoderCache BartModel::make_cache(int64_t rows, int64_t capacity) const {
  const int64_t heads = config_.decoder_attention_heads;
  const auto options = at::TensorOptions().dtype(activation_type_).device(device());
  DecoderCache cache;
  cache.capacity = capacity;
  for (size_t i = 0; i < decoder_layers_.size(); ++i) {
    cache.keys_BHSE.push_back(at::empty({rows, heads, capacity, config_.d_model / heads}, options));
    cache.values_BHSE.push_back(at::empty({rows, heads, capacity, config_.d_model / heads}, options));
  }
  return cache;
}

void DecoderCache::reorder(const at::Tensor& rows_B) {
  for (std::vector<at::Tensor>* tensors : {&keys_BHSE, &values_BHSE}) {
    for (at::Tensor& tensor : *tensors) {
      // Only the filled positions move; the rows may become fewer.
      at::Tensor moved =
          at::empty({rows_B.size(0), tensor.size(1), capacity, tensor.size(3)}, tensor.options());
      at::Tensor filled = moved.narrow(2, 0, length);
      at::index_select_out(filled, tensor.narrow(2, 0, length), 0, rows_B);
      tensor = moved;
    }
  }
}

void BartModel::pack_decoder() {
  if (!device().is_cpu()) return;
  for (DecoderLayer& layer : decoder_layers_) pack(layer, activation_type_, /*in_place=*/false);
  pack(head_, activation_type_, /*in_place=*/false);
}

void BartModel::pack_for_inference() {
  constexpr int64_t kAnyRows = std::numeric_limits<int64_t>::max();
  const bool always = nn::can_pack(head_.weight) && nn::packed_is_faster(kAnyRows);
  if (!always || activation_type_ != dtype_) return pack_decoder();
  parameters_.clear();  // the last to hold the weights but for the layers
  if (config_.tie_word_embeddings) shared_VD_ = encoder_tokens_VD_ = decoder_tokens_VD_ = at::Tensor();
  for (DecoderLayer& layer : decoder_layers_) pack(layer, activation_type_, /*in_place=*/true);
  pack(head_, activation_type_, /*in_place=*/true);
}

void BartModel::unpack_decoder() {
  for (DecoderLayer& layer : decoder_layers_) unpack(layer);
  head_.packed = {};
}

const at::Tensor& BartModel::output_weight_VD() const { return head_.weight; }

const at::Tensor& BartModel::output_bias_V() const { return head_.bias; }

at::Tensor BartModel::logits(const at::Tensor& hidden) const { return apply(head_, hidden); }

}  // namespace precis::models

// One encoder layer and one decoder layer, post-norm, as in modeling_bart.py.
#include "models/bart/bart_layers.h"

#include <utility>

#include "nn/linear.h"

namespace precis::models {

namespace {

constexpr double kNormEpsilon = 1e-5;  // nn.LayerNorm's default, which BART uses

at::Tensor dropped(const at::Tensor& x, const nn::Dropout& dropout, double rate, DropoutSite site,
                   int64_t layer) {
  return nn::dropout(x, rate, dropout.rows, nn::dropout_site(site, static_cast<uint64_t>(layer)));
}

at::Tensor feed_forward(const FeedForward& block, const at::Tensor& x, const nn::Dropout& dropout,
                        int64_t layer, DropoutSite activation_site, DropoutSite output_site) {
  const at::Tensor inner =
      dropped(block.activation(apply(block.inner, x)), dropout, dropout.activation, activation_site, layer);
  return dropped(apply(block.outer, inner), dropout, dropout.hidden, output_site, layer);
}

}  // namespace

at::Tensor apply(const Linear& linear, const at::Tensor& x) {
  return nn::linear(x, linear.weight, linear.bias);
}

at::Tensor apply(const LayerNorm& norm, const at::Tensor& x) {
  return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, kNormEpsilon);
}

at::Tensor encoder_layer(const EncoderLayer& layer, int64_t index, const at::Tensor& states_BSD,
                         const nn::AttentionMask& mask, const nn::Dropout& dropout) {
  const AttentionWeights& self = layer.self_attention;
  const at::Tensor query = nn::split_heads(apply(self.query, states_BSD), layer.heads);
  const at::Tensor key = nn::split_heads(apply(self.key, states_BSD), layer.heads);
  const at::Tensor value = nn::split_heads(apply(self.value, states_BSD), layer.heads);
  const uint64_t site = nn::dropout_site(kEncoderSelfProbabilities, static_cast<uint64_t>(index));
  const at::Tensor context = nn::join_heads(nn::attention(query, key, value, mask, dropout, site));
  const at::Tensor attended =
      dropped(apply(self.output, context), dropout, dropout.hidden, kEncoderSelfOutput, index);
  const at::Tensor middle = apply(layer.self_attention_norm, states_BSD + attended);
  const at::Tensor fed =
      feed_forward(layer.feed_forward, middle, dropout, index, kEncoderActivation, kEncoderFeedForward);
  return apply(layer.final_norm, middle + fed);
}

at::Tensor decoder_layer(const DecoderLayer& layer, int64_t index, const at::Tensor& states_BSD,
                         const nn::AttentionMask& mask, const KeyValueStore& store,
                         nn::CrossAttention& memory, const nn::Dropout& dropout) {
  const AttentionWeights& self = layer.self_attention;
  const at::Tensor query = nn::split_heads(apply(self.query, states_BSD), layer.heads);
  const auto [key, value] = store(nn::split_heads(apply(self.key, states_BSD), layer.heads),
                                  nn::split_heads(apply(self.value, states_BSD), layer.heads));
  const uint64_t site = nn::dropout_site(kDecoderSelfProbabilities, static_cast<uint64_t>(index));
  const at::Tensor context = nn::join_heads(nn::attention(query, key, value, mask, dropout, site));
  const at::Tensor attended =
      dropped(apply(self.output, context), dropout, dropout.hidden, kDecoderSelfOutput, index);
  const at::Tensor written = apply(layer.self_attention_norm, states_BSD + attended);

  const at::Tensor recalled = memory.attend(index, apply(layer.cross_query, written), layer.cross, dropout);
  const at::Tensor crossed =
      dropped(apply(layer.cross_output, recalled), dropout, dropout.hidden, kDecoderCrossOutput, index);
  const at::Tensor middle = apply(layer.cross_attention_norm, written + crossed);
  const at::Tensor fed =
      feed_forward(layer.feed_forward, middle, dropout, index, kDecoderActivation, kDecoderFeedForward);
  return apply(layer.final_norm, middle + fed);
}

}  // namespace precis::models

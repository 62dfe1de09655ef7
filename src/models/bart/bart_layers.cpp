// One encoder layer and one decoder layer, post-norm, as in modeling_bart.py.
#include "models/bart/bart_layers.h"

#include <utility>

#include "nn/large_tensor.h"
#include "nn/linear.h"
#include "nn/packed_linear.h"

namespace precis::models {

namespace {

bool runs_packed(const Linear& linear, const at::Tensor& x) {
  return linear.packed.defined() && !at::GradMode::is_enabled() &&
         nn::packed_is_faster(x.numel() / x.size(-1));
}

}  // namespace

at::Tensor dropped(const at::Tensor& x, const nn::Dropout& dropout, double rate, DropoutSite site,
                   int64_t layer) {
  return nn::dropout(x, rate, dropout.rows, nn::dropout_site(site, static_cast<uint64_t>(layer)));
}

Heads project(const AttentionWeights& weights, const at::Tensor& states_BSD, int64_t heads) {
  if (runs_packed(weights.joint, states_BSD)) {
    const std::vector<at::Tensor> parts = apply(weights.joint, states_BSD).chunk(3, -1);
    return {nn::split_heads(parts[0], heads), nn::split_heads(parts[1], heads),
            nn::split_heads(parts[2], heads)};
  }
  return {nn::split_heads(apply(weights.query, states_BSD), heads),
          nn::split_heads(apply(weights.key, states_BSD), heads),
          nn::split_heads(apply(weights.value, states_BSD), heads)};
}

namespace {

// Functions of their own, so that what a block holds is freed before the next one starts.
template <typename Layer>
at::Tensor self_attention_block(const Layer& block, const at::Tensor& states_BSD,
                                const nn::AttentionMask& mask, const KeyValueStore& store,
                                const nn::Dropout& dropout, int64_t layer, DropoutSite probability_site,
                                DropoutSite output_site) {
  const uint64_t site = nn::dropout_site(probability_site, static_cast<uint64_t>(layer));
  at::Tensor context;
  {
    const auto [query, new_key, new_value] =
        project(block.self_attention, states_BSD.to(block.products), block.heads);
    const auto [key, value] = store(new_key, new_value);
    context = nn::join_heads(nn::attention(query, key, value, mask, dropout, site));
  }
  const at::Tensor attended =
      dropped(apply(block.self_attention.output, context), dropout, dropout.hidden, output_site, layer);
  return apply(block.self_attention_norm, states_BSD + attended);
}

template <typename Layer>
at::Tensor feed_forward_block(const Layer& block, const at::Tensor& x, const nn::Dropout& dropout,
                              int64_t layer, DropoutSite activation_site, DropoutSite output_site) {
  const FeedForward& two = block.feed_forward;
  const at::Tensor inner = dropped(two.activation(apply(two.inner, x.to(block.products))), dropout,
                                   dropout.activation, activation_site, layer);
  const at::Tensor outer = dropped(apply(two.outer, inner), dropout, dropout.hidden, output_site, layer);
  return apply(block.final_norm, x + outer);
}

}  // namespace

at::Tensor apply(const Linear& linear, const at::Tensor& x) {
  if (runs_packed(linear, x)) return nn::packed_linear(x, linear.packed, linear.bias);
  return nn::linear(x, linear.weight, linear.bias);
}

void pack(Linear& linear, at::ScalarType type, bool in_place) {
  if (in_place) {
    at::Tensor weight = std::exchange(linear.weight, at::Tensor()).to(type);
    linear.packed = nn::pack_in_place(weight);
  } else {
    linear.packed = nn::pack_weight(linear.weight.to(type));
  }
}

void pack(DecoderLayer& layer, at::ScalarType type, bool in_place) {
  AttentionWeights& self = layer.self_attention;
  const at::NoGradGuard no_grad;
  at::Tensor joint = nn::empty_weight({3 * self.query.weight.size(0), self.query.weight.size(1)},
                                      self.query.weight.scalar_type());
  at::cat_out(joint, {self.query.weight, self.key.weight, self.value.weight});
  joint = joint.to(type);
  self.joint.packed = nn::pack_in_place(joint);
  self.joint.bias = at::cat({self.query.bias, self.key.bias, self.value.bias});
  if (in_place) {
    for (Linear* linear : {&self.query, &self.key, &self.value}) linear->weight = at::Tensor();
  }
  for (Linear* linear : {&self.output, &layer.cross_query, &layer.cross_output, &layer.feed_forward.inner,
                         &layer.feed_forward.outer}) {
    pack(*linear, type, in_place);
  }
}

void unpack(DecoderLayer& layer) {
  layer.self_attention.joint = Linear();
  for (Linear* linear : {&layer.self_attention.output, &layer.cross_query, &layer.cross_output,
                         &layer.feed_forward.inner, &layer.feed_forward.outer}) {
    linear->packed = {};
  }
}

at::Tensor apply(const LayerNorm& norm, const at::Tensor& x) {
  return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, kNormEpsilon);
}

at::Tensor encoder_layer(const EncoderLayer& layer, int64_t index, const at::Tensor& states_BSD,
                         const nn::AttentionMask& mask, const nn::Dropout& dropout) {
  const at::Tensor attended = self_attention_block(
      layer, states_BSD, mask,
      [](const at::Tensor& key, const at::Tensor& value) { return std::pair(key, value); }, dropout, index,
      kEncoderSelfProbabilities, kEncoderSelfOutput);
  return feed_forward_block(layer, attended, dropout, index, kEncoderActivation, kEncoderFeedForward);
}

at::Tensor decoder_layer(const DecoderLayer& layer, int64_t index, const at::Tensor& states_BSD,
                         const nn::AttentionMask& mask, const KeyValueStore& store,
                         nn::CrossAttention& memory, const nn::Dropout& dropout) {
  const at::Tensor written = self_attention_block(layer, states_BSD, mask, store, dropout, index,
                                                  kDecoderSelfProbabilities, kDecoderSelfOutput);
  const at::Tensor query = apply(layer.cross_query, written.to(layer.products));
  const at::Tensor recalled = memory.attend(index, query, layer.cross, dropout);
  const at::Tensor crossed =
      dropped(apply(layer.cross_output, recalled), dropout, dropout.hidden, kDecoderCrossOutput, index);
  return feed_forward_block(layer, apply(layer.cross_attention_norm, written + crossed), dropout, index,
                            kDecoderActivation, kDecoderFeedForward);
}

}  // namespace precis::models

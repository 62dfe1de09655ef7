// The layers of BART as plain structs of tensors and free functions.
// Letters: B rows, S positions, D width, F feed-forward width.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>

#include "nn/activation.h"
#include "nn/attention.h"
#include "nn/cross_attention.h"
#include "nn/dropout.h"
#include "nn/packed_linear.h"

namespace precis::models {

struct Linear {
  at::Tensor weight;
  at::Tensor bias;
  nn::PackedWeight packed;  // for few rows, or undefined
};

struct LayerNorm {
  at::Tensor weight;
  at::Tensor bias;
};

struct AttentionWeights {
  Linear query, key, value, output;
  Linear joint;  // query, key and value as one product for few rows: packed alone, or undefined
};

struct FeedForward {
  Linear inner, outer;  // fc1 [F, D], fc2 [D, F]
  nn::Activation activation = nullptr;
};

struct EncoderLayer {
  AttentionWeights self_attention;
  LayerNorm self_attention_norm;
  FeedForward feed_forward;
  LayerNorm final_norm;
  int64_t heads = 0;
  at::ScalarType products = at::kFloat;  // the type of matrix products; what goes past them keeps its own
};

struct DecoderLayer {
  AttentionWeights self_attention;
  LayerNorm self_attention_norm;
  Linear cross_query, cross_output;
  nn::CrossProjection cross;  // the keys' and values' projection, handed to the memory
  LayerNorm cross_attention_norm;
  FeedForward feed_forward;
  LayerNorm final_norm;
  int64_t heads = 0;
  at::ScalarType products = at::kFloat;  // as in EncoderLayer
};

// Where dropout falls, beside nn::kCrossAttentionSite; the same numbers for ever, since masks are made of
// them.
enum DropoutSite : uint64_t {
  kEncoderEmbedding = 1,
  kEncoderSelfProbabilities,
  kEncoderSelfOutput,
  kEncoderActivation,
  kEncoderFeedForward,
  kDecoderEmbedding,
  kDecoderSelfProbabilities,
  kDecoderSelfOutput,
  kDecoderCrossOutput,
  kDecoderActivation,
  kDecoderFeedForward,
};

// By the packed weight where there is one, the rows are few and no gradient is wanted.
at::Tensor apply(const Linear& linear, const at::Tensor& x);
at::Tensor apply(const LayerNorm& norm, const at::Tensor& x);

// Packs what a decoder step multiplies with, in the type of the states. The packed weights are copies, to be
// made again, or taken away, when the weights change; or, in place, they take the weights' own memory, and
// the weights are undefined from then on.
void pack(Linear& linear, at::ScalarType type, bool in_place);
void pack(DecoderLayer& layer, at::ScalarType type, bool in_place);
void unpack(DecoderLayer& layer);

// x after dropout at that site of the layer.
at::Tensor dropped(const at::Tensor& x, const nn::Dropout& dropout, double rate, DropoutSite site,
                   int64_t layer);

struct Heads {
  at::Tensor query_BHSE, key_BHSE, value_BHSE;
};
Heads project(const AttentionWeights& weights, const at::Tensor& states_BSD, int64_t heads);

inline constexpr double kNormEpsilon = 1e-5;  // nn.LayerNorm's default, which BART uses

at::Tensor encoder_layer(const EncoderLayer& layer, int64_t index, const at::Tensor& states_BSD,
                         const nn::AttentionMask& mask, const nn::Dropout& dropout);

// Keys and values to attend to, given the new ones [B, H, S, E]: appends to a cache, or returns them as they
// are.
using KeyValueStore =
    std::function<std::pair<at::Tensor, at::Tensor>(const at::Tensor& key, const at::Tensor& value)>;

at::Tensor decoder_layer(const DecoderLayer& layer, int64_t index, const at::Tensor& states_BSD,
                         const nn::AttentionMask& mask, const KeyValueStore& store,
                         nn::CrossAttention& memory, const nn::Dropout& dropout);

}  // namespace precis::models

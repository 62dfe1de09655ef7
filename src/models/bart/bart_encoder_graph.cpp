// All layers as one autograd function.
#include "models/bart/bart_encoder_graph.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <tuple>
#include <utility>

#include "nn/linear.h"

namespace precis::models {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A norm's result, and what its backward pass needs beside its input.
struct Normed {
  at::Tensor states, mean, rstd;
};

Normed normed(const LayerNorm& norm, const at::Tensor& x) {
  const auto [states, mean, rstd] =
      at::native_layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, kNormEpsilon);
  return {states, mean, rstd};
}

// Adds the gradient of weight and bias to theirs; returns x's.
at::Tensor norm_backward(const LayerNorm& norm, const at::Tensor& d_y, const at::Tensor& x, const Normed& y) {
  const auto [d_x, d_weight, d_bias] = at::native_layer_norm_backward(
      d_y, x, {x.size(-1)}, y.mean, y.rstd, norm.weight, norm.bias, {true, true, true});
  nn::gradient_of(norm.weight).add_(d_weight);
  nn::gradient_of(norm.bias).add_(d_bias);
  return d_x;
}

// What is kept of one layer.
struct Record {
  nn::RecordedAttention attention;
  at::Tensor attention_sum;  // of the layer's input and the attention block, before the norm; kFull
  at::Tensor inner_BSF;      // before the activation; kFull
  at::Tensor sum;            // of the feed-forward block and its input, before the norm
  Normed output;             // of that norm, the states themselves left out
};

// The same operations, one for one, as encoder_layer().
at::Tensor forward(const EncoderLayer& layer, int64_t index, const at::Tensor& states_BSD,
                   const nn::AttentionMask& mask, const nn::Dropout& dropout, EncoderGraph graph,
                   Record& record) {
  const auto [query, key, value] = project(layer.self_attention, states_BSD.to(layer.products), layer.heads);
  const uint64_t site = nn::dropout_site(kEncoderSelfProbabilities, static_cast<uint64_t>(index));
  const at::Tensor context = nn::join_heads(record.attention.forward(query, key, value, mask, dropout, site));
  record.attention_sum = states_BSD + dropped(apply(layer.self_attention.output, context), dropout,
                                              dropout.hidden, kEncoderSelfOutput, index);
  const at::Tensor attended = apply(layer.self_attention_norm, record.attention_sum);
  record.inner_BSF = apply(layer.feed_forward.inner, attended.to(layer.products));
  const at::Tensor active = dropped(layer.feed_forward.activation(record.inner_BSF), dropout,
                                    dropout.activation, kEncoderActivation, index);
  if (graph == EncoderGraph::kLean) {
    record.attention.forget_inputs();
    record.attention_sum = record.inner_BSF = at::Tensor();
  }
  record.sum = attended + dropped(apply(layer.feed_forward.outer, active), dropout, dropout.hidden,
                                  kEncoderFeedForward, index);
  record.output = normed(layer.final_norm, record.sum);
  return std::exchange(record.output.states, at::Tensor());
}

// The feed-forward block's backward pass; adds to the gradient of its input, which it is given as far as it
// comes past the block. `attended` is that input in the type of products.
void feed_forward_backward(const EncoderLayer& layer, int64_t index, const nn::Dropout& dropout,
                           const at::Tensor& inner_BSF, const at::Tensor& attended, at::Tensor d_sum) {
  const FeedForward& two = layer.feed_forward;
  at::Tensor inner = inner_BSF.detach(), active;
  {
    const at::AutoGradMode with_graph(true);
    inner.requires_grad_(true);
    active = dropped(two.activation(inner), dropout, dropout.activation, kEncoderActivation, index);
  }
  at::Tensor d_active;
  {
    const at::Tensor d_outer =
        dropped(d_sum.to(layer.products), dropout, dropout.hidden, kEncoderFeedForward, index);
    nn::add_linear_gradient(two.outer.weight, two.outer.bias, d_outer, active.detach());
    d_active = nn::linear_input_gradient(d_outer, two.outer.weight);
  }
  const at::Tensor d_inner = torch::autograd::grad({active}, {inner}, {d_active})[0];
  active = d_active = at::Tensor();
  nn::add_linear_gradient(two.inner.weight, two.inner.bias, d_inner, attended);
  d_sum.add_(nn::linear_input_gradient(d_inner, two.inner.weight));
}

// The same of the attention block.
void attention_backward(const EncoderLayer& layer, int64_t index, const nn::Dropout& dropout,
                        const nn::RecordedAttention& attention, const at::Tensor& states, at::Tensor d_sum) {
  const AttentionWeights& weights = layer.self_attention;
  at::Tensor d_context;
  {
    const at::Tensor d_output =
        dropped(d_sum.to(layer.products), dropout, dropout.hidden, kEncoderSelfOutput, index);
    nn::add_linear_gradient(weights.output.weight, weights.output.bias, d_output,
                            nn::join_heads(attention.output().detach()));
    d_context = nn::linear_input_gradient(d_output, weights.output.weight);
  }
  const auto d_heads = attention.gradients(nn::split_heads(d_context, layer.heads));
  const Linear* const projections[] = {&weights.query, &weights.key, &weights.value};
  at::Tensor d_states;
  for (size_t i = 0; i < 3; ++i) {
    const at::Tensor d_y = nn::join_heads(d_heads[i]);
    nn::add_linear_gradient(projections[i]->weight, projections[i]->bias, d_y, states);
    d_states = nn::linear_input_gradient(d_y, projections[i]->weight, d_states);
  }
  d_sum.add_(d_states);
}

// By the layer's input, of the gradient of its output.
at::Tensor backward(const EncoderLayer& layer, int64_t index, const nn::Dropout& dropout, Record record,
                    const at::Tensor& states_BSD, const at::Tensor& d_output) {
  const at::Tensor states = states_BSD.to(layer.products);
  if (!record.inner_BSF.defined()) {
    const auto [query, key, value] = project(layer.self_attention, states, layer.heads);
    record.attention.give_inputs(query, key, value);
    const at::Tensor context = nn::join_heads(record.attention.output().detach());
    record.attention_sum = states_BSD + dropped(apply(layer.self_attention.output, context), dropout,
                                                dropout.hidden, kEncoderSelfOutput, index);
  }
  Normed attended = normed(layer.self_attention_norm, record.attention_sum);
  const at::Tensor narrow = std::exchange(attended.states, at::Tensor()).to(layer.products);
  if (!record.inner_BSF.defined()) record.inner_BSF = apply(layer.feed_forward.inner, narrow);
  at::Tensor d_sum = norm_backward(layer.final_norm, d_output, record.sum, record.output);
  record.sum = at::Tensor();
  feed_forward_backward(layer, index, dropout, std::exchange(record.inner_BSF, at::Tensor()), narrow, d_sum);
  d_sum = norm_backward(layer.self_attention_norm, d_sum, record.attention_sum, attended);
  attention_backward(layer, index, dropout, record.attention, states, d_sum);
  return d_sum;
}

// One forward pass over all layers.
struct Encoding : torch::CustomClassHolder {
  const std::vector<EncoderLayer>& layers;
  nn::Dropout dropout;
  std::vector<Record> records;

  Encoding(const std::vector<EncoderLayer>& layers, const nn::Dropout& dropout)
      : layers(layers), dropout(dropout), records(layers.size()) {}
};

struct Function : torch::autograd::Function<Function> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& states_BSD,
                            c10::intrusive_ptr<Encoding> encoding, const nn::AttentionMask& mask,
                            EncoderGraph graph) {
    context->save_for_backward({states_BSD});
    context->saved_data["encoding"] = at::IValue::make_capsule(encoding);
    at::Tensor states = states_BSD;
    for (size_t i = 0; i < encoding->layers.size(); ++i) {
      states = models::forward(encoding->layers[i], static_cast<int64_t>(i), states, mask, encoding->dropout,
                               graph, encoding->records[i]);
    }
    return states;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    Encoding& encoding =
        *c10::static_intrusive_pointer_cast<Encoding>(context->saved_data["encoding"].toCapsule());
    at::Tensor d_states = gradients[0];
    for (size_t i = encoding.layers.size(); i-- > 0;) {
      const at::Tensor states =
          i == 0 ? context->get_saved_variables()[0]
                 : models::apply(encoding.layers[i - 1].final_norm, encoding.records[i - 1].sum);
      d_states = models::backward(encoding.layers[i], static_cast<int64_t>(i), encoding.dropout,
                                  std::exchange(encoding.records[i], Record()), states, d_states);
    }
    return {d_states, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor encode_with_graph(const std::vector<EncoderLayer>& layers, const at::Tensor& states_BSD,
                             const nn::AttentionMask& mask, const nn::Dropout& dropout, EncoderGraph graph) {
  return Function::apply(states_BSD, c10::make_intrusive<Encoding>(layers, dropout), mask, graph);
}

}  // namespace precis::models

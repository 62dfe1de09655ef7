// The table of activation functions.
#include "nn/activation.h"

#include <numbers>

namespace precis::nn {

namespace {

at::Tensor gelu(const at::Tensor& x) { return at::gelu(x); }
at::Tensor gelu_clipped(const at::Tensor& x) { return at::clamp(at::gelu(x), -10, 10); }
at::Tensor gelu_tanh(const at::Tensor& x) { return at::gelu(x, "tanh"); }
at::Tensor quick_gelu(const at::Tensor& x) { return x.mul(at::sigmoid(x.mul(1.702))); }
at::Tensor relu(const at::Tensor& x) { return at::relu(x); }
at::Tensor relu6(const at::Tensor& x) { return at::clamp(x, 0, 6); }
at::Tensor relu_squared(const at::Tensor& x) { return at::relu(x).square(); }
at::Tensor leaky_relu(const at::Tensor& x) { return at::leaky_relu(x); }
at::Tensor hardswish(const at::Tensor& x) { return at::hardswish(x); }
// The smooth stand-in for a squared ReLU of Ma et al. 2022 (Mega), with their mean and deviation.
at::Tensor laplace(const at::Tensor& x) {
  return at::erf(x.sub(0.707107).div(0.282095 * std::numbers::sqrt2)).add(1).mul(0.5);
}
at::Tensor root_softplus(const at::Tensor& x) { return at::softplus(x).sqrt(); }
at::Tensor silu(const at::Tensor& x) { return at::silu(x); }
at::Tensor sigmoid(const at::Tensor& x) { return at::sigmoid(x); }
at::Tensor tanh(const at::Tensor& x) { return at::tanh(x); }
at::Tensor mish(const at::Tensor& x) { return at::mish(x); }
at::Tensor linear(const at::Tensor& x) { return x; }

struct Row {
  const char* name;
  Activation function;
};

constexpr Row kActivations[] = {
    {"gelu", gelu},
    {"gelu_10", gelu_clipped},
    {"gelu_accurate", gelu_tanh},
    {"gelu_fast", gelu_tanh},
    {"gelu_new", gelu_tanh},
    {"gelu_python", gelu},
    {"gelu_python_tanh", gelu_tanh},
    {"gelu_pytorch_tanh", gelu_tanh},
    {"hardswish", hardswish},
    {"laplace", laplace},
    {"leaky_relu", leaky_relu},
    {"linear", linear},
    {"mish", mish},
    {"quick_gelu", quick_gelu},
    {"relu", relu},
    {"relu2", relu_squared},
    {"relu6", relu6},
    {"sigmoid", sigmoid},
    {"silu", silu},
    {"sqrtsoftplus", root_softplus},
    {"swish", silu},
    {"tanh", tanh},
};

}  // namespace

Activation find_activation(const std::string& name) {
  for (const Row& row : kActivations) {
    if (name == row.name) return row.function;
  }
  return nullptr;
}

std::vector<std::string> activation_names() {
  std::vector<std::string> names;
  for (const Row& row : kActivations) names.emplace_back(row.name);
  return names;
}

}  // namespace precis::nn

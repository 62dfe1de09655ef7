// The table of activation functions.
#include "nn/activation.h"

namespace precis::nn {

namespace {

at::Tensor gelu(const at::Tensor& x) { return at::gelu(x); }
at::Tensor gelu_tanh(const at::Tensor& x) { return at::gelu(x, "tanh"); }
at::Tensor quick_gelu(const at::Tensor& x) { return x.mul(at::sigmoid(x.mul(1.702))); }
at::Tensor relu(const at::Tensor& x) { return at::relu(x); }
at::Tensor relu6(const at::Tensor& x) { return at::clamp(x, 0, 6); }
at::Tensor relu_squared(const at::Tensor& x) { return at::relu(x).square(); }
at::Tensor leaky_relu(const at::Tensor& x) { return at::leaky_relu(x); }
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
    {"gelu", gelu},       {"gelu_python", gelu},     {"gelu_new", gelu_tanh},     {"gelu_fast", gelu_tanh},
    {"gelu_pytorch_tanh", gelu_tanh},                {"quick_gelu", quick_gelu},  {"relu", relu},
    {"relu6", relu6},     {"relu2", relu_squared},   {"leaky_relu", leaky_relu},  {"silu", silu},
    {"swish", silu},      {"sigmoid", sigmoid},      {"tanh", tanh},              {"mish", mish},
    {"linear", linear},
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

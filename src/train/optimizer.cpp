// The optimisers, by libtorch's fused kernels where they exist.
#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace precis::train {

namespace {

Error state_error(const std::string& where, std::string what, std::string expected = "",
                  std::string found = "") {
  return Error(
      ErrorKind::kModel,
      {.what = std::move(what), .where = where, .expected = std::move(expected), .found = std::move(found)});
}

std::string shape_of(const at::Tensor& tensor) {
  std::string text = "[";
  for (int64_t i = 0; i < tensor.dim(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(tensor.size(i));
  return text + "]";
}

}  // namespace

OptimizerName optimizer_name(const std::string& text) {
  if (text == "adamw") return OptimizerName::kAdamW;
  if (text == "adam") return OptimizerName::kAdam;
  if (text == "sgd") return OptimizerName::kSgd;
  throw Error(ErrorKind::kUsage, {.what = "unknown optimiser", .where = "optimizer.name", .found = text});
}

int64_t state_tensors(OptimizerName name) { return name == OptimizerName::kSgd ? 0 : 2; }

bool decays(const std::string& name, const at::Tensor& parameter) {
  return parameter.dim() >= 2 && name.find("norm") == std::string::npos && !name.ends_with("bias");
}

double gradient_norm(const NamedTensors& parameters) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> norms;
  for (const auto& [name, parameter] : parameters) {
    norms.push_back(at::linalg_vector_norm(parameter.grad(), 2));
  }
  // All at once: a GPU is waited for at every number that is read from it.
  const at::Tensor read = at::stack(norms).to(at::kCPU, at::kDouble);
  double sum = 0.0;
  for (int64_t i = 0; i < read.numel(); ++i) {
    const double norm = read.const_data_ptr<double>()[i];
    sum += norm * norm;
  }
  return std::sqrt(sum);
}

void clip_gradients(const NamedTensors& parameters, double norm, double clip_norm) {
  const double coefficient = clip_norm / (norm + 1e-6);
  if (coefficient >= 1.0) return;
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters) parameter.grad().mul_(coefficient);
}

Optimizer::Optimizer(NamedTensors parameters, const OptimizerOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  const at::NoGradGuard no_grad;
  const bool adamw = options_.name == OptimizerName::kAdamW;
  Group decayed{.weight_decay = adamw ? options_.weight_decay : 0.0};
  Group plain;
  for (const auto& [name, parameter] : parameters_) {
    // Gradients stay allocated from step to step: new pages would cost more than clearing old ones.
    parameter.mutable_grad() = at::zeros_like(parameter);
    Group& group = decays(name, parameter) ? decayed : plain;
    group.parameters.push_back(parameter);
    if (options_.name == OptimizerName::kSgd) continue;
    group.exp_avg.push_back(at::zeros_like(parameter));
    group.exp_avg_sq.push_back(at::zeros_like(parameter));
    group.steps.push_back(at::zeros({}, parameter.options().dtype(at::kFloat)));
    state_.emplace_back(name + ".exp_avg", group.exp_avg.back());
    state_.emplace_back(name + ".exp_avg_sq", group.exp_avg_sq.back());
  }
  for (Group* group : {&decayed, &plain}) {
    if (!group->parameters.empty()) groups_.push_back(std::move(*group));
  }
}

void Optimizer::zero_gradients() {
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters_) parameter.grad().zero_();
}

void Optimizer::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  ++steps_;
  for (const Group& group : groups_) {
    if (options_.name == OptimizerName::kSgd) {
      for (const at::Tensor& parameter : group.parameters) {
        parameter.add_(parameter.grad(), -learning_rate);
      }
      continue;
    }
    for (const at::Tensor& count : group.steps) count.fill_(steps_);
    std::vector<at::Tensor> g;
    for (const at::Tensor& parameter : group.parameters) g.push_back(parameter.grad());
    const at::TensorList p = group.parameters, m = group.exp_avg, v = group.exp_avg_sq;
    const auto [beta1, beta2] = options_.betas;
    if (options_.name == OptimizerName::kAdamW) {
      at::_fused_adamw_(p, g, m, v, {}, group.steps, learning_rate, beta1, beta2, group.weight_decay,
                        options_.eps,
                        /*amsgrad=*/false, /*maximize=*/false);
    } else {
      at::_fused_adam_(p, g, m, v, {}, group.steps, learning_rate, beta1, beta2, group.weight_decay,
                       options_.eps,
                       /*amsgrad=*/false, /*maximize=*/false);
    }
  }
}

NamedTensors Optimizer::state() const { return state_; }

void Optimizer::load_state(const NamedTensors& state, int64_t steps, const std::string& where) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> given(state.begin(), state.end());
  for (const auto& [name, own] : state_) {
    const auto found = given.find(name);
    if (found == given.end()) throw state_error(where, "tensor missing from the optimiser's state", name);
    if (shape_of(found->second) != shape_of(own)) {
      throw state_error(where, "tensor '" + name + "' has another shape", shape_of(own),
                        shape_of(found->second));
    }
  }
  if (given.size() != state_.size()) {
    for (const auto& [name, own] : state_) given.erase(name);
    throw state_error(where, "the optimiser has no such state", "", given.begin()->first);
  }
  for (const auto& [name, own] : state_) own.copy_(given.at(name));
  steps_ = steps;
}

}  // namespace precis::train

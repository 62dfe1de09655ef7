// AdamW (Loshchilov and Hutter 2019), Adam (Kingma and Ba 2015) and plain SGD, as torch.optim computes them,
// with a state that is kept by parameter name.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace precis::train {

enum class OptimizerName { kAdamW, kAdam, kSgd };

// "adamw", "adam", "sgd"; Error{kUsage} for anything else.
OptimizerName optimizer_name(const std::string& text);

struct OptimizerOptions {
  OptimizerName name = OptimizerName::kAdamW;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  // AdamW alone: decoupled, on neither biases nor norms.
  double weight_decay = 0.01;
};

// Tensors of the parameters' size that the optimiser keeps: 2 or 0.
int64_t state_tensors(OptimizerName name);

// A matrix that is no norm's gain. Biases and norms are vectors in every model here.
bool decays(const std::string& name, const at::Tensor& parameter);

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// L2 norm over the gradients of all parameters: each parameter's in its own type, their squares summed in
// double. Not finite where any element is not, or where a parameter's norm overflows its type.
double gradient_norm(const NamedTensors& parameters);
// Multiplies every gradient by min(1, clip_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_.
void clip_gradients(const NamedTensors& parameters, double norm, double clip_norm);

class Optimizer {
 public:
  // The parameters are changed in place; each has a gradient of its own from here on, zero at first.
  Optimizer(NamedTensors parameters, const OptimizerOptions& options);

  void zero_gradients();
  // One update by `.grad` at this learning rate.
  void step(double learning_rate);
  int64_t steps() const { return steps_; }

  // "NAME.exp_avg" and "NAME.exp_avg_sq" of every parameter; empty for SGD. The tensors are the optimiser's
  // own.
  NamedTensors state() const;
  // Takes `steps` and a state as `state()` gives it, in any order; another type of float is converted. Throws
  // Error{kModel} naming `where` where a tensor is missing, unknown, or of another shape.
  void load_state(const NamedTensors& state, int64_t steps, const std::string& where);

 private:
  // Parameters that share one weight decay.
  struct Group {
    double weight_decay = 0.0;
    std::vector<at::Tensor> parameters, exp_avg, exp_avg_sq;
    std::vector<at::Tensor> steps;  // float32 scalars, one a parameter, as the fused kernels read them
  };

  NamedTensors parameters_;
  OptimizerOptions options_;
  std::vector<Group> groups_;
  NamedTensors state_;
  int64_t steps_ = 0;
};

}  // namespace precis::train

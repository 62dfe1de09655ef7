// The feed-forward's activation functions, under transformers' names (activations.py, ACT2FN).
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

namespace precis::nn {

using Activation = at::Tensor (*)(const at::Tensor&);

// nullptr for an unknown name.
Activation find_activation(const std::string& name);
std::vector<std::string> activation_names();

}  // namespace precis::nn

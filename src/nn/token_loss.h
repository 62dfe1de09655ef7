// Cross-entropy over the vocabulary in pieces: the [N, V] logits are never held whole.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace precis::nn {

struct TokenLoss {
  at::Tensor objective;  // scalar, float64, differentiable: sum over tokens of the label-smoothed loss
  at::Tensor nll_N;      // negative log-likelihood of each label, natural log, no graph, float32 or float64
};

// hidden_ND, weight_VD (the output head, often the tied embedding), labels_N int64. bias_V is a buffer that
// is not trained (BART's final_logits_bias) and may be undefined. Smoothing as
// torch.nn.functional.cross_entropy(label_smoothing): (1 - e) nll + e * mean over V of -log p. The gradients
// of hidden and weight are computed in the forward pass, piece by piece (where grad mode is on); logits of
// 16-bit types are raised to float32 first. `objective` is a sum: divide it by the token count.
TokenLoss token_loss(const at::Tensor& hidden_ND, const at::Tensor& weight_VD, const at::Tensor& bias_V,
                     const at::Tensor& labels_N, double label_smoothing);

}  // namespace precis::nn

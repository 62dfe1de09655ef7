// Piecewise cross-entropy: logits, loss and gradients of a few hundred tokens at a time.
#include "nn/token_loss.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "nn/linear.h"

namespace precis::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kPieceTokens = 512;

at::ScalarType sum_type(at::ScalarType type) {
  return type == at::kHalf || type == at::kBFloat16 ? at::kFloat : type;
}

struct Piece {
  at::Tensor log_probabilities_nV;
  at::Tensor nll_n;
  at::Tensor objective;  // scalar, float64
};

Piece forward_piece(const at::Tensor& hidden_nD, const at::Tensor& weight_VD, const at::Tensor& bias_V,
                    const at::Tensor& labels_n, double smoothing) {
  at::Tensor logits = linear(hidden_nD, weight_VD, at::Tensor()).to(sum_type(hidden_nD.scalar_type()));
  logits.add_(bias_V);
  Piece piece;
  piece.log_probabilities_nV = at::log_softmax(logits, -1);
  piece.nll_n = piece.log_probabilities_nV.gather(1, labels_n.unsqueeze(1)).squeeze(1).neg();
  piece.objective = piece.nll_n.sum(at::kDouble);
  if (smoothing > 0) {
    const double vocabulary = static_cast<double>(weight_VD.size(0));
    piece.objective = piece.objective.mul(1 - smoothing)
                          .sub(piece.log_probabilities_nV.sum(at::kDouble).mul(smoothing / vocabulary));
  }
  return piece;
}

// d objective / d logits, in place of the log-probabilities: p - (1 - e) onehot - e / V.
at::Tensor gradient_of_logits(Piece& piece, const at::Tensor& labels_n, double smoothing) {
  at::Tensor gradient = piece.log_probabilities_nV.exp_();
  if (smoothing > 0) gradient.sub_(smoothing / static_cast<double>(gradient.size(1)));
  const at::Tensor label_share = at::full({labels_n.size(0), 1}, smoothing - 1, gradient.options());
  return gradient.scatter_add_(1, labels_n.unsqueeze(1), label_share);
}

struct Function : torch::autograd::Function<Function> {
  static variable_list forward(AutogradContext* context, const at::Tensor& hidden_ND,
                               const at::Tensor& weight_VD, const at::Tensor& bias_V,
                               const at::Tensor& labels_N, double smoothing, bool with_gradient) {
    const int64_t N = hidden_ND.size(0);
    const at::ScalarType type = sum_type(hidden_ND.scalar_type());
    at::Tensor objective = at::zeros({}, hidden_ND.options().dtype(at::kDouble));
    const at::Tensor nll_N = at::empty({N}, hidden_ND.options().dtype(type));
    at::Tensor d_hidden, d_weight;
    if (with_gradient) {
      d_hidden = at::empty_like(hidden_ND);
      d_weight = at::zeros_like(weight_VD, type);
    }
    for (int64_t begin = 0; begin < N; begin += kPieceTokens) {
      const int64_t n = std::min(kPieceTokens, N - begin);
      const at::Tensor hidden = hidden_ND.narrow(0, begin, n), labels = labels_N.narrow(0, begin, n);
      Piece piece = forward_piece(hidden, weight_VD, bias_V, labels, smoothing);
      objective.add_(piece.objective);
      nll_N.narrow(0, begin, n).copy_(piece.nll_n);
      if (!with_gradient) continue;
      const at::Tensor d_logits = gradient_of_logits(piece, labels, smoothing);
      d_hidden.narrow(0, begin, n).copy_(at::mm(d_logits, weight_VD.to(type)));
      d_weight.addmm_(d_logits.t(), hidden.to(type));
    }
    context->mark_non_differentiable({nll_N});
    if (with_gradient) context->save_for_backward({d_hidden, d_weight.to(weight_VD.scalar_type())});
    return {objective, nll_N};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& scale = gradients[0];
    const auto scaled = [&scale](const at::Tensor& x) { return x.mul(scale.to(x.scalar_type())); };
    return {scaled(saved[0]), scaled(saved[1]), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

TokenLoss token_loss(const at::Tensor& hidden_ND, const at::Tensor& weight_VD, const at::Tensor& bias_V,
                     const at::Tensor& labels_N, double label_smoothing) {
  const bool with_gradient =
      at::GradMode::is_enabled() && (hidden_ND.requires_grad() || weight_VD.requires_grad());
  // An autograd function takes no undefined tensor.
  const at::Tensor bias =
      bias_V.defined() ? bias_V : at::zeros({weight_VD.size(0)}, weight_VD.options().requires_grad(false));
  const variable_list result =
      Function::apply(hidden_ND, weight_VD, bias, labels_N, label_smoothing, with_gradient);
  return {result[0], result[1]};
}

}  // namespace precis::nn

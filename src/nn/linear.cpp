// Products whose weight has another type than what it multiplies, and bfloat16 where the processor has no
// instructions for it.
#include "nn/linear.h"

#include <torch/csrc/autograd/custom_function.h>

#include "kernels/column_sums.h"
#include "nn/bfloat16.h"
#include "nn/packed_linear.h"

namespace precis::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// a [..., k] b' for b [n, k], in a's type, which b has too.
at::Tensor product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& bias) {
  if (widens_bfloat16(a.scalar_type(), a.device())) {
    const PackedWeight packed = pack_weight(b);
    if (packed.defined()) return packed_linear(a, packed, bias);
  }
  return at::linear(a, b, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt);
}

// The weight is cast anew in both passes, a small part of the product's work, rather than held twice. Its
// gradient is a product in x's type, as under autocast, and is added up over documents in the weight's.
struct Function : torch::autograd::Function<Function> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    context->save_for_backward({x, weight});
    context->saved_data["bias_type"] = static_cast<int64_t>(bias.scalar_type());
    return product(x, weight.to(x.scalar_type()), bias.to(x.scalar_type()));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor gradient_RD = gradients[0].reshape({-1, weight.size(0)});
    const auto bias_type = static_cast<at::ScalarType>(context->saved_data["bias_type"].toInt());
    at::Tensor d_x, d_weight, d_bias;
    if (context->needs_input_grad(0)) {
      d_x = product(gradient_RD, weight.to(x.scalar_type()).t(), at::Tensor()).view(x.sizes());
    }
    if (context->needs_input_grad(1)) {
      const at::Tensor x_RM = x.reshape({-1, weight.size(1)});
      d_weight = product(gradient_RD.t(), x_RM.t(), at::Tensor()).to(weight.scalar_type());
    }
    if (context->needs_input_grad(2)) d_bias = gradient_RD.sum(0, false, bias_type);
    return {d_x, d_weight, d_bias};
  }
};

}  // namespace

at::Tensor& gradient_of(const at::Tensor& parameter) {
  at::Tensor& gradient = at::Tensor(parameter).mutable_grad();
  if (!gradient.defined()) gradient = at::zeros_like(parameter);
  return gradient;
}

at::Tensor linear_input_gradient(const at::Tensor& d_y, const at::Tensor& weight, at::Tensor sum) {
  std::vector<int64_t> sizes = d_y.sizes().vec();
  sizes.back() = weight.size(1);
  const at::Tensor d_RD = d_y.reshape({-1, weight.size(0)}), cast = weight.detach().to(d_y.scalar_type());
  if (widens_bfloat16(d_y.scalar_type(), d_y.device())) {
    const at::Tensor part = product(d_RD, cast.t(), at::Tensor()).view(sizes);
    return sum.defined() ? sum.add_(part) : part;
  }
  if (!sum.defined()) return at::mm(d_RD, cast).view(sizes);
  sum.view({-1, weight.size(1)}).addmm_(d_RD, cast);
  return sum;
}

void add_linear_gradient(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& d_y,
                         const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  const at::Tensor d_RD = d_y.reshape({-1, weight.size(0)}), x_RM = x.reshape({-1, weight.size(1)});
  at::Tensor& sum = gradient_of(weight);
  if (sum.scalar_type() == d_RD.scalar_type() && !widens_bfloat16(d_RD.scalar_type(), d_RD.device())) {
    sum.addmm_(d_RD.t(), x_RM);
  } else {
    sum.add_(product(d_RD.t(), x_RM.t(), at::Tensor()));
  }
  if (!bias.defined()) return;
  at::Tensor& bias_sum = gradient_of(bias);
  bias_sum.add_(kernels::has_column_sums(d_RD) ? kernels::column_sums(d_RD)
                                               : d_RD.sum(0, false, bias_sum.scalar_type()));
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const bool plain = x.scalar_type() == weight.scalar_type();
  if (plain && !widens_bfloat16(x.scalar_type(), x.device())) return product(x, weight, bias);
  // An autograd function takes no undefined tensor.
  return Function::apply(
      x, weight, bias.defined() ? bias : at::zeros({weight.size(0)}, weight.options().requires_grad(false)));
}

}  // namespace precis::nn

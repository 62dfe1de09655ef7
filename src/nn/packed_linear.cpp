// oneDNN's packed linear layer, which libtorch has among its registered operators but not among its
// functions.
#include "nn/packed_linear.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

namespace precis::nn {

namespace {

using Reorder = at::Tensor(const at::Tensor&, std::optional<c10::SymInt>);
using Linear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                          std::string_view, c10::List<std::optional<at::Scalar>>,
                          std::optional<std::string_view>);

// Nothing in a libtorch without oneDNN.
template <typename Signature>
std::optional<c10::TypedOperatorHandle<Signature>> find(const char* name) {
  const auto found = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!found) return std::nullopt;
  return found->typed<Signature>();
}

bool computes(at::ScalarType type) {
  if (type == at::kFloat) return true;
  if (type != at::kBFloat16) return false;
  static const bool bfloat16 = [] {
    const auto supported = find<bool()>("mkldnn::_is_mkldnn_bf16_supported");
    return supported && supported->call();
  }();
  return bfloat16;
}

}  // namespace

at::Tensor pack_weight(const at::Tensor& weight) {
  static const auto reorder = find<Reorder>("mkldnn::_reorder_linear_weight");
  if (!reorder || !weight.is_cpu() || !computes(weight.scalar_type())) return {};
  const at::NoGradGuard no_grad;
  return reorder->call(weight.detach(), std::nullopt);
}

at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias) {
  static const auto linear = find<Linear>("mkldnn::_linear_pointwise");
  const c10::List<std::optional<at::Scalar>> no_scalars;
  return linear->call(x, packed, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt, "none",
                      no_scalars, "");
}

}  // namespace precis::nn

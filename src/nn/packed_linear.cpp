// Tensors to panels, and panels shared out over threads.
#include "nn/packed_linear.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "nn/large_tensor.h"
#include "nn/packed_kernel.h"

namespace precis::nn {

namespace {

// Multiplications below which a thread of its own costs more than it saves.
constexpr int64_t kWorthAThread = 1 << 16;
// Where the processor has wider vectors than the kernel, the general product is faster above so many rows.
constexpr int64_t kRowsBesideWideVectors = 32;

bool has_wide_vectors() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512f");
  return has;
#else
  return true;
#endif
}

// weights [N, out, in], whatever their strides, to panels.
template <typename Value>
void fill_panels(const at::Tensor& weights, const at::Tensor& panels) {
  constexpr bool kWide = sizeof(Value) == sizeof(float);
  const int64_t outputs = weights.size(1), in = weights.size(2), each = panels.size(1);
  const int64_t of_weight = weights.stride(0), of_output = weights.stride(1), of_in = weights.stride(2);
  const Value* from = weights.const_data_ptr<Value>();
  Value* to = panels.mutable_data_ptr<Value>();
  at::parallel_for(0, panels.size(0) * each, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      const Value* begin = from + p / each * of_weight + p % each * kPanelOutputs * of_output;
      const int64_t filled = std::min(kPanelOutputs, outputs - p % each * kPanelOutputs);
      Value* panel = to + p * in * kPanelOutputs;
      for (int64_t k = 0; k < in; ++k, panel += kPanelOutputs) {
        for (int64_t j = 0; j < kPanelOutputs; ++j) {
          panel[place_in_panel(j, kWide)] = j < filled ? begin[j * of_output + k * of_in] : Value(0.0F);
        }
      }
    }
  });
}

}  // namespace

bool can_pack(const at::Tensor& weight) {
  const at::ScalarType type = weight.scalar_type();
  return weight.is_cpu() && (type == at::kFloat || type == at::kBFloat16) && has_packed_kernel();
}

PackedWeight pack_weight(const at::Tensor& weight) {
  if (!can_pack(weight)) return {};
  const at::Tensor weights = weight.dim() == 2 ? weight.detach().unsqueeze(0) : weight.detach();
  const int64_t N = weights.size(0), outputs = weights.size(1), in = weights.size(2);
  const int64_t panels = (outputs + kPanelOutputs - 1) / kPanelOutputs;
  PackedWeight packed = {empty_large({N, panels, in, kPanelOutputs}, weights.scalar_type()), outputs};
  if (weights.scalar_type() == at::kFloat) {
    fill_panels<float>(weights, packed.panels);
  } else {
    fill_panels<at::BFloat16>(weights, packed.panels);
  }
  return packed;
}

bool packed_is_faster(int64_t rows, at::ScalarType) {
  return !has_wide_vectors() || rows <= kRowsBesideWideVectors;
}

at::Tensor packed_linear(const at::Tensor& x, const PackedWeight& weight, const at::Tensor& bias) {
  const at::NoGradGuard no_grad;
  const at::Tensor values = x.to(at::kFloat).contiguous();
  const at::Tensor offsets = bias.defined() ? bias.to(at::kFloat).contiguous() : at::Tensor();
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.outputs;
  const at::Tensor out = at::empty(shape, values.options());
  const int64_t in = values.size(-1), N = weight.panels.size(0), panels = weight.panels.size(1);
  const int64_t rows = values.numel() / (N * in);
  const at::Tensor panels_bytes = weight.panels.view({N, -1}).view(at::kByte);
  const auto product_of = [&](int64_t n) {
    return PackedProduct{.x = values.const_data_ptr<float>() + n * rows * in,
                         .panels = panels_bytes.const_data_ptr<uint8_t>() + n * panels_bytes.size(1),
                         .bias = offsets.defined() ? offsets.const_data_ptr<float>() : nullptr,
                         .out = out.mutable_data_ptr<float>() + n * rows * weight.outputs,
                         .rows = rows,
                         .in = in,
                         .outputs = weight.outputs,
                         .bfloat16 = weight.panels.scalar_type() == at::kBFloat16};
  };
  const int64_t work = std::max<int64_t>(rows * in * kPanelOutputs, 1);
  at::parallel_for(
      0, N * panels, std::max<int64_t>(kWorthAThread / work, 1), [&](int64_t first, int64_t last) {
        for (int64_t n = first / panels; n * panels < last; ++n) {
          const int64_t begin = n * panels;
          multiply_panels(product_of(n), std::max(first - begin, int64_t{0}), std::min(last - begin, panels));
        }
      });
  return out.to(x.scalar_type());
}

}  // namespace precis::nn

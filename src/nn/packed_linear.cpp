// Tensors to panels, and panels shared out over threads.
#include "nn/packed_linear.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/error.h"
#include "nn/large_tensor.h"
#include "nn/packed_kernel.h"

namespace precis::nn {

namespace {

// Multiplications below which a thread of its own costs more than it saves.
constexpr int64_t kWorthAThread = 1 << 16;
constexpr int64_t kRowsWorthAThread = 64;
constexpr int64_t kSharesOfAThread = 8;
// Where the general product has wider vectors than the kernel, it is faster above so many rows.
constexpr int64_t kRowsBesideWideVectors = 32;

static_assert(kRowMultiple % kPanelOutputs == 0, "empty_weight() leaves room for the last panel");

bool has_wide_vectors() {
#if defined(__x86_64__)
  // MKL takes AVX2 on other makers' processors, whatever they have.
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_is("intel");
  return has;
#else
  return true;
#endif
}

// Sixteen outputs (fewer of the last panel) of a weight, whatever its strides, to a panel.
template <typename Value>
void fill_panel(const Value* from, int64_t of_output, int64_t of_in, int64_t outputs, int64_t in,
                Value* panel) {
  constexpr bool kWide = sizeof(Value) == sizeof(float);
  for (int64_t k = 0; k < in; ++k, panel += kPanelOutputs) {
    for (int64_t j = 0; j < kPanelOutputs; ++j) {
      panel[place_in_panel(j, kWide)] = j < outputs ? from[j * of_output + k * of_in] : Value(0.0F);
    }
  }
}

// weights [N, out, in] to panels.
template <typename Value>
void fill_panels(const at::Tensor& weights, const at::Tensor& panels) {
  const int64_t outputs = weights.size(1), in = weights.size(2), each = panels.size(1);
  const int64_t of_weight = weights.stride(0), of_output = weights.stride(1), of_in = weights.stride(2);
  const Value* from = weights.const_data_ptr<Value>();
  Value* to = panels.mutable_data_ptr<Value>();
  at::parallel_for(0, panels.size(0) * each, 1, [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      const int64_t output = p % each * kPanelOutputs;
      fill_panel(from + p / each * of_weight + output * of_output, of_output, of_in,
                 std::min(kPanelOutputs, outputs - output), in, to + p * in * kPanelOutputs);
    }
  });
}

// The memory of panels [1, P, in, 16] that still holds the rows of a weight of so many outputs.
template <typename Value>
void turn_into_panels(const at::Tensor& panels, int64_t outputs) {
  const int64_t in = panels.size(2), size = in * kPanelOutputs;
  Value* data = panels.mutable_data_ptr<Value>();
  at::parallel_for(0, panels.size(1), 1, [&](int64_t first, int64_t last) {
    std::vector<Value> rows(static_cast<size_t>(size));
    for (int64_t p = first; p < last; ++p) {
      const int64_t filled = std::min(kPanelOutputs, outputs - p * kPanelOutputs);
      std::copy_n(data + p * size, filled * in, rows.data());
      fill_panel(rows.data(), in, 1, filled, in, data + p * size);
    }
  });
}

template <typename Value>
void copy_rows(const at::Tensor& panels, const at::Tensor& ids, const at::Tensor& rows) {
  constexpr bool kWide = sizeof(Value) == sizeof(float);
  const int64_t in = panels.size(2);
  const Value* data = panels.const_data_ptr<Value>();
  const int64_t* id = ids.const_data_ptr<int64_t>();
  Value* to = rows.mutable_data_ptr<Value>();
  at::parallel_for(0, ids.numel(), kRowsWorthAThread, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const Value* from =
          data + id[i] / kPanelOutputs * in * kPanelOutputs + place_in_panel(id[i] % kPanelOutputs, kWide);
      for (int64_t k = 0; k < in; ++k) to[i * in + k] = from[k * kPanelOutputs];
    }
  });
}

int64_t panels_of(int64_t outputs) { return (outputs + kPanelOutputs - 1) / kPanelOutputs; }

}  // namespace

bool can_pack(const at::Tensor& weight) {
  const at::ScalarType type = weight.scalar_type();
  return weight.is_cpu() && (type == at::kFloat || type == at::kBFloat16) && has_packed_kernel();
}

PackedWeight pack_weight(const at::Tensor& weight) {
  if (!can_pack(weight)) return {};
  const at::Tensor weights = weight.dim() == 2 ? weight.detach().unsqueeze(0) : weight.detach();
  const int64_t N = weights.size(0), outputs = weights.size(1), in = weights.size(2);
  PackedWeight packed = {empty_large({N, panels_of(outputs), in, kPanelOutputs}, weights.scalar_type()),
                         outputs};
  if (weights.scalar_type() == at::kFloat) {
    fill_panels<float>(weights, packed.panels);
  } else {
    fill_panels<at::BFloat16>(weights, packed.panels);
  }
  return packed;
}

PackedWeight pack_in_place(at::Tensor& weight) {
  if (!can_pack(weight)) return {};
  const int64_t outputs = weight.size(0), in = weight.size(1), panels = panels_of(outputs);
  const int64_t size = in * kPanelOutputs;
  // Memory of just this size, from its beginning, is no other tensor's.
  const bool whole = weight.is_contiguous() && weight.storage_offset() == 0 &&
                     static_cast<int64_t>(weight.storage().nbytes()) == panels * size * weight.element_size();
  PackedWeight packed = {at::Tensor(), outputs};
  if (!whole) {
    packed = pack_weight(weight);
  } else {
    packed.panels =
        weight.detach().as_strided({1, panels, in, kPanelOutputs}, {panels * size, size, kPanelOutputs, 1});
    if (weight.scalar_type() == at::kFloat) {
      turn_into_panels<float>(packed.panels, outputs);
    } else {
      turn_into_panels<at::BFloat16>(packed.panels, outputs);
    }
  }
  weight = at::Tensor();
  return packed;
}

at::Tensor packed_rows(const PackedWeight& weight, const at::Tensor& ids) {
  std::vector<int64_t> shape = ids.sizes().vec();
  shape.push_back(weight.panels.size(2));
  const at::Tensor rows = at::empty(shape, weight.panels.options()), numbers = ids.contiguous();
  const int64_t* id = numbers.const_data_ptr<int64_t>();
  if (!std::all_of(id, id + numbers.numel(), [&](int64_t i) { return i >= 0 && i < weight.outputs; })) {
    throw Error(ErrorKind::kInternal, {.what = "an id outside the weight's rows"});
  }
  if (rows.scalar_type() == at::kFloat) {
    copy_rows<float>(weight.panels, numbers, rows);
  } else {
    copy_rows<at::BFloat16>(weight.panels, numbers, rows);
  }
  return rows;
}

bool packed_is_faster(int64_t rows) { return !has_wide_vectors() || rows <= kRowsBesideWideVectors; }

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
  const auto multiply = [&](int64_t first, int64_t last) {
    for (int64_t n = first / panels; n * panels < last; ++n) {
      const int64_t begin = n * panels;
      multiply_panels(product_of(n), std::max(first - begin, int64_t{0}), std::min(last - begin, panels));
    }
  };
  const int64_t all = N * panels, least = std::max<int64_t>(kWorthAThread / work, 1);
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), (all + least - 1) / least);
  // Small shares, taken as they come: threads are never equally fast (docs/decisions/0011).
  const int64_t share = std::max<int64_t>(all / std::max<int64_t>(threads * kSharesOfAThread, 1), 1);
  std::atomic<int64_t> next = 0;
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t first; (first = next.fetch_add(share)) < all;) multiply(first, std::min(first + share, all));
  });
  return out.to(x.scalar_type());
}

}  // namespace precis::nn

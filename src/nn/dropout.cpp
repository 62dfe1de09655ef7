// Dropout masks from counters.
#include "nn/dropout.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/random.h"

namespace precis::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Writes `count` factors of line (h, m) of a row, columns first.. on. The line's key takes all 64 bits of the
// row's key, site, h and m; a column is then a counter under it, mixed twice with both halves of the key.
template <typename scalar>
void fill_line(scalar* line, int64_t count, int64_t first, uint64_t line_key, uint32_t threshold,
               scalar kept) {
  const uint32_t low = static_cast<uint32_t>(line_key), high = static_cast<uint32_t>(line_key >> 32);
  for (int64_t n = 0; n < count; ++n) {
    uint32_t column = static_cast<uint32_t>(first + n);
    mix_column(column, low, high);
    line[n] = column < threshold ? scalar(0) : kept;
  }
}

// 16-bit floats have no fast arithmetic on a CPU: their factors are made in float32.
at::ScalarType factor_type(at::ScalarType type) { return type == at::kDouble ? at::kDouble : at::kFloat; }

struct Function : torch::autograd::Function<Function> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, double p,
                            std::vector<int64_t> rows, int64_t site) {
    context->saved_data["p"] = p;
    context->saved_data["rows"] = rows;
    context->saved_data["site"] = site;
    return apply_mask(x, p, rows, site);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    return {apply_mask(gradients[0], context->saved_data["p"].toDouble(),
                       context->saved_data["rows"].toIntVector(), context->saved_data["site"].toInt()),
            at::Tensor(), at::Tensor(), at::Tensor()};
  }

  static at::Tensor apply_mask(const at::Tensor& x, double p, const std::vector<int64_t>& rows,
                               int64_t site) {
    std::vector<int64_t> sizes = x.sizes().vec();
    while (sizes.size() < 4) sizes.insert(sizes.begin() + 1, 1);
    const std::vector<uint64_t> keys(rows.begin(), rows.end());
    const at::Tensor factors =
        dropout_factors(sizes, p, keys, static_cast<uint64_t>(site), 0, x.options().requires_grad(false));
    return x.mul(factors.view(x.sizes()));
  }
};

}  // namespace

uint64_t dropout_site(uint64_t site, uint64_t layer) { return combine(site, layer); }

at::Tensor dropout_factors(at::IntArrayRef sizes_BHMN, double p, const std::vector<uint64_t>& rows,
                           uint64_t site, int64_t first_column, const at::TensorOptions& options) {
  const int64_t B = sizes_BHMN[0], H = sizes_BHMN[1], M = sizes_BHMN[2], N = sizes_BHMN[3];
  TORCH_INTERNAL_ASSERT(static_cast<int64_t>(rows.size()) == B);
  const at::ScalarType type = c10::typeMetaToScalarType(options.dtype());
  at::Tensor factors = at::empty({B, H, M, N}, at::TensorOptions().dtype(factor_type(type)));
  const uint32_t threshold = static_cast<uint32_t>(std::min(p * 0x1p32, double{UINT32_MAX}));
  AT_DISPATCH_FLOATING_TYPES(factors.scalar_type(), "dropout_factors", [&] {
    scalar_t* data = factors.data_ptr<scalar_t>();
    const scalar_t kept = static_cast<scalar_t>(1.0 / (1.0 - p));
    const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, N));
    at::parallel_for(0, B * H * M, grain, [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) {
        const uint64_t b = line / (H * M), h = line / M % H, m = line % M;
        const uint64_t key = combine(combine(rows[b], site), h << 40 ^ m);
        fill_line(data + line * N, N, first_column, key, threshold, kept);
      }
    });
  });
  return factors.to(options);
}

at::Tensor dropout(const at::Tensor& x, double p, const std::vector<uint64_t>& rows, uint64_t site) {
  if (p == 0.0 || rows.empty()) return x;
  return Function::apply(x, p, std::vector<int64_t>(rows.begin(), rows.end()), static_cast<int64_t>(site));
}

}  // namespace precis::nn

// Dropout masks from counters.
#include "nn/dropout.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/random.h"
#include "nn/dropout_mask.h"

#ifdef PRECIS_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "nn/dropout_cuda.h"
#endif

namespace precis::nn {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Writes `count` factors of a line, columns first.. on.
template <typename scalar>
void fill_line(scalar* line, int64_t count, int64_t first, uint64_t key, uint32_t threshold, scalar kept) {
  for (int64_t n = 0; n < count; ++n) {
    line[n] = is_dropped(key, static_cast<uint32_t>(first + n), threshold) ? scalar(0) : kept;
  }
}

// factors [B, H, M, N] by the key of each of B rows at the site.
template <typename scalar>
void fill(const at::Tensor& factors, const std::vector<uint64_t>& keys, int64_t first_column,
          uint32_t threshold, scalar kept) {
  const int64_t B = factors.size(0), H = factors.size(1), M = factors.size(2), N = factors.size(3);
  scalar* data = factors.mutable_data_ptr<scalar>();
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, N));
  at::parallel_for(0, B * H * M, grain, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const uint64_t b = line / (H * M), h = line / M % H, m = line % M;
      fill_line(data + line * N, N, first_column, line_key(keys[b], h, m), threshold, kept);
    }
  });
}

#ifdef PRECIS_CUDA
void fill_on_gpu(const at::Tensor& factors, const std::vector<uint64_t>& keys, int64_t first_column,
                 uint32_t threshold, double kept) {
  const c10::cuda::CUDAGuard guard(factors.device());
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
  AT_DISPATCH_FLOATING_TYPES(factors.scalar_type(), "dropout_factors", [&] {
    C10_CUDA_CHECK(fill_dropout_factors(factors.mutable_data_ptr<scalar_t>(),
                                        {.rows = factors.size(0),
                                         .heads = factors.size(1),
                                         .lines = factors.size(2),
                                         .columns = factors.size(3),
                                         .first_column = first_column,
                                         .threshold = threshold},
                                        keys.data(), static_cast<scalar_t>(kept), stream));
  });
}
#endif

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
  TORCH_INTERNAL_ASSERT(static_cast<int64_t>(rows.size()) == sizes_BHMN[0]);
  const at::ScalarType type = factor_type(c10::typeMetaToScalarType(options.dtype()));
  const uint32_t threshold = static_cast<uint32_t>(std::min(p * 0x1p32, double{UINT32_MAX}));
  const double kept = 1.0 / (1.0 - p);
  std::vector<uint64_t> keys;
  keys.reserve(rows.size());
  for (const uint64_t row : rows) keys.push_back(row_key(row, site));
#ifdef PRECIS_CUDA
  if (options.device().is_cuda()) {
    const at::Tensor factors =
        at::empty(sizes_BHMN, at::TensorOptions().dtype(type).device(options.device()));
    fill_on_gpu(factors, keys, first_column, threshold, kept);
    return factors.to(options);
  }
#endif
  const at::Tensor factors = at::empty(sizes_BHMN, at::TensorOptions().dtype(type));
  AT_DISPATCH_FLOATING_TYPES(type, "dropout_factors", [&] {
    fill<scalar_t>(factors, keys, first_column, threshold, static_cast<scalar_t>(kept));
  });
  return factors.to(options);
}

at::Tensor dropout(const at::Tensor& x, double p, const std::vector<uint64_t>& rows, uint64_t site) {
  if (p == 0.0 || rows.empty()) return x;
  return Function::apply(x, p, std::vector<int64_t>(rows.begin(), rows.end()), static_cast<int64_t>(site));
}

}  // namespace precis::nn

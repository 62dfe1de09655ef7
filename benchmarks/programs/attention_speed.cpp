// The attention kernels beside the library's fused attention and beside plain products: milliseconds of a
// forward and of a backward pass, the fastest of several.
//   attention_speed [REPEATS]
// One JSON object a line.
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "io/json.h"
#include "kernels/attention.h"
#include "nn/attention.h"

namespace precis {

struct Shape {
  const char* name;
  int64_t B, H, S, T, E;
};

double milliseconds(int64_t repeats, const std::function<void()>& work) {
  double least = 1e30;
  for (int64_t i = 0; i <= repeats; ++i) {  // the first compiles products
    const auto began = std::chrono::steady_clock::now();
    work();
    const double took =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
    if (i > 0) least = std::min(least, took);
  }
  return least;
}

void print(const Shape& shape, at::ScalarType type, const char* how, double forward, double backward) {
  const double product = 2e-9 * static_cast<double>(shape.B * shape.H * shape.S * shape.T * shape.E);
  std::printf("%s\n", dump_json({{"shape", shape.name},
                                 {"type", c10::toString(type)},
                                 {"how", how},
                                 {"forward_ms", forward},
                                 {"backward_ms", backward},
                                 {"forward_gflops", 2000 * product / forward},
                                 {"backward_gflops", 5000 * product / backward}})
                          .c_str());
  std::fflush(stdout);
}

void measure(const Shape& shape, at::ScalarType type, int64_t repeats) {
  const at::NoGradGuard no_grad;
  const auto heads = [&](int64_t positions) {
    return at::randn({shape.B, positions, shape.H, shape.E}, at::kFloat).to(type).transpose(1, 2);
  };
  const at::Tensor query = heads(shape.S), key = heads(shape.T), value = heads(shape.T),
                   gradient = heads(shape.S);
  const auto [output, lse] = at::_scaled_dot_product_flash_attention_for_cpu(query, key, value);
  const double library =
      milliseconds(repeats, [&] { at::_scaled_dot_product_flash_attention_for_cpu(query, key, value); });
  const double library_back = milliseconds(repeats, [&, o = output, l = lse] {
    at::_scaled_dot_product_flash_attention_for_cpu_backward(gradient, query, key, value, o, l, 0.0, false);
  });
  print(shape, type, "library", library, library_back);

  const bool has_kernel = kernels::has_attention(type, at::kCPU, shape.E);
  for (const double dropout : {0.0, 0.1}) {
    if (!has_kernel) break;
    kernels::AttentionSettings settings;
    settings.dropout = dropout;
    settings.dropout_keys_B.assign(static_cast<size_t>(shape.B), 5);
    kernels::Attended attended;
    const double forward =
        milliseconds(repeats, [&] { attended = kernels::attention(query, key, value, settings); });
    const double backward = milliseconds(repeats, [&] {
      const at::Tensor delta = kernels::row_products(gradient, attended.output_BHSE);
      const at::Tensor d_query = at::zeros({shape.B, shape.S, shape.H, shape.E}, at::kFloat).transpose(1, 2);
      kernels::attention_gradients(query, key, value, {gradient, attended.lse_BHS, delta}, settings,
                                   {d_query, at::empty_like(key), at::empty_like(value)});
      d_query.to(type);
    });
    print(shape, type, dropout == 0 ? "kernel" : "kernel, dropout", forward, backward);
  }
  nn::Dropout dropout{.attention = 0.1};
  dropout.rows.assign(static_cast<size_t>(shape.B), 5);
  if (has_kernel) return;  // ATEN_CPU_CAPABILITY=avx2 asks for what takes its place
  print(shape, type, "products, dropout",
        milliseconds(repeats, [&] { nn::attention(query, key, value, {}, dropout, 1); }), 0.0);
}

}  // namespace precis

int main(int argc, char** argv) {
  using namespace precis;
  const int64_t repeats = argc > 1 ? std::atoll(argv[1]) : 5;
  const Shape shapes[] = {{"self, 4 windows of 1024", 4, 12, 1024, 1024, 64},
                          {"cross, 256 x 2048", 1, 12, 256, 2048, 64}};
  for (const Shape& shape : shapes) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) measure(shape, type, repeats);
  }
  return 0;
}

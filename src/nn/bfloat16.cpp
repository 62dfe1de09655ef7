// What oneDNN, which libtorch multiplies bfloat16 with, says of the processor.
#include "nn/bfloat16.h"

#include <ATen/core/dispatch/Dispatcher.h>

namespace precis::nn {

namespace {

// Registered as an operator, not declared as a function; missing from a libtorch without oneDNN.
bool has_bfloat16_products() {
  const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_is_mkldnn_bf16_supported", ""});
  return found && found->typed<bool()>().call();
}

}  // namespace

bool widens_bfloat16(at::ScalarType type, at::Device device) {
  static const bool has = has_bfloat16_products();
  return !has && device.is_cpu() && type == at::kBFloat16;
}

}  // namespace precis::nn

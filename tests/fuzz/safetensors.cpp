// Fuzzes the reader of safetensors.
#include "io/safetensors.h"

#include "base/memory_file.h"
#include "fuzz/weight_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace precis;
  const MemoryFile file(text_of(data, size));
  value_or_error({ErrorKind::kModel}, [&] { read_all(open_safetensors(file.path())); });
  return 0;
}

// Fuzzes the reading of .zst files.
#include "fuzz/compressed_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  precis::read_stream("x.zst", data, size);
  return 0;
}

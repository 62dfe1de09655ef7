// Runs a BART for the parity test: bart_states MODEL INPUTS DTYPE OUTPUT [SAVE_DIRECTORY].
// INPUTS holds input_ids [B, C], lengths [B] and decoder_ids [B, S]; OUTPUT gets `states`, `logits` and
// `cached_logits` (the same decoder run over a cache, first two positions, then one at a time).
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdio>

#include "base/file_system.h"
#include "io/safetensors.h"
#include "memory/cross_attention.h"
#include "models/model_files.h"
#include "models/weights.h"

namespace precis {

at::Tensor read_ids(const WeightFile& file, const char* name) {
  const WeightInfo* info = file.find(name);
  if (info == nullptr || info->type != WeightType::kI64) {
    throw Error(ErrorKind::kData, {.what = std::string(name) + " is missing or not I64"});
  }
  at::Tensor ids = at::empty(info->shape, at::kLong);
  file.read(name, ids.data_ptr(), static_cast<size_t>(info->bytes));
  return ids;
}

at::ScalarType parse_dtype(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "float64") return at::kDouble;
  if (name == "bfloat16") return at::kBFloat16;
  throw Error(ErrorKind::kUsage, {.what = "unknown dtype", .found = name});
}

at::Tensor decode_with_cache(const models::BartModel& model, const at::Tensor& ids_BS,
                             nn::CrossAttention& memory) {
  models::DecoderCache cache = model.make_cache(ids_BS.size(0), ids_BS.size(1));
  std::vector<at::Tensor> pieces;
  for (int64_t begin = 0; begin < ids_BS.size(1);) {
    const int64_t count = begin == 0 || begin == 4 ? std::min<int64_t>(2, ids_BS.size(1) - begin) : 1;
    pieces.push_back(model.logits(model.decode(ids_BS.narrow(1, begin, count), memory, {}, &cache)));
    begin += count;
  }
  return at::cat(pieces, 1);
}

void run(const std::string& directory, const std::string& inputs, at::ScalarType dtype,
         const std::string& output, const char* save_directory) {
  const at::NoGradGuard no_grad;
  models::LoadNotes notes;
  const models::BartModel model = models::BartModel::load(directory, dtype, &notes);
  for (const std::string& name : notes.unexpected) std::printf("unexpected %s\n", name.c_str());
  const WeightFile file = open_safetensors(inputs);
  const at::Tensor lengths = read_ids(file, "lengths"), decoder_ids = read_ids(file, "decoder_ids");
  const std::vector<int64_t> rows(lengths.data_ptr<int64_t>(), lengths.data_ptr<int64_t>() + lengths.numel());
  const at::Tensor states = model.encode(read_ids(file, "input_ids"), rows, {});
  memory::HeldCrossAttention memory({states, rows}), memory_of_cache({states, rows});
  const at::Tensor logits = model.logits(model.decode(decoder_ids, memory, {}));
  const at::Tensor cached = decode_with_cache(model, decoder_ids, memory_of_cache);
  std::vector<WeightBytes> results;
  const std::pair<const char*, at::Tensor> named[] = {{"states", states.contiguous()},
                                                      {"logits", logits.contiguous()},
                                                      {"cached_logits", cached.contiguous()}};
  for (const auto& [name, tensor] : named) {
    results.push_back({name, models::weight_type(dtype), tensor.sizes().vec(), tensor.const_data_ptr()});
  }
  write_safetensors(posix_file_system(), output, results);
  if (save_directory == nullptr) return;
  const std::filesystem::path saved = save_directory;
  make_directories(posix_file_system(), saved);
  models::write_weights(posix_file_system(), model, saved / "model.safetensors");
  replace_file(posix_file_system(), saved / "config.json", models::saved_config(model).dump(2));
}

}  // namespace precis

int main(int argc, char** argv) {
  if (argc < 5 || argc > 6) return 2;
  try {
    precis::run(argv[1], argv[2], precis::parse_dtype(argv[3]), argv[4], argc == 6 ? argv[5] : nullptr);
    return 0;
  } catch (const precis::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return precis::exit_code(error.kind());
  }
}

// BART (Lewis et al. 2020) as in transformers' modeling_bart.py: parameters under Hugging Face's names,
// the encoder over windows, the decoder over any memory.
// Letters: W windows, C positions, B documents, S target positions, D width, V vocabulary.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "models/bart/bart_config.h"
#include "models/bart/bart_encoder_graph.h"
#include "models/bart/bart_layers.h"
#include "nn/cross_attention.h"
#include "nn/dropout.h"

namespace precis::models {

inline constexpr const char* kSharedEmbedding = "model.shared.weight";
// What is the shared embedding too where `tie_word_embeddings` holds.
inline constexpr const char* kTiedEmbeddings[] = {"model.encoder.embed_tokens.weight",
                                                  "model.decoder.embed_tokens.weight", "lm_head.weight"};

// Self-attention keys and values of what the decoder has written so far, for every layer.
struct DecoderCache {
  std::vector<at::Tensor> keys_BHSE;  // one a layer, room for `capacity` positions
  std::vector<at::Tensor> values_BHSE;
  int64_t length = 0;  // positions filled
  int64_t capacity = 0;

  // Row b becomes the old row rows_B[b] (int64): what beam search does at every step.
  void reorder(const at::Tensor& rows_B);
};

// What a person may want to know of a model's files.
struct LoadNotes {
  std::vector<std::string> unexpected;  // names that mean nothing to a BART
  std::set<std::string> other_types;    // stored types that are not the model's, such as "BF16"
};

class BartModel {
 public:
  // Fresh weights: normal with `init_std`, biases 0, norms 1, the padding row of the embedding 0;
  // a pure function of (config, seed).
  static BartModel initialize(const BartConfig& config, uint64_t seed, at::ScalarType dtype);
  // Reads `directory` (config.json and the weights, as WeightFiles::open finds them) in any floating type,
  // cast to `dtype`. Throws Error{kModel}. models::load_model() also tells what is in `notes`.
  static BartModel load(const std::filesystem::path& directory, at::ScalarType dtype,
                        LoadNotes* notes = nullptr);

  const BartConfig& config() const { return config_; }
  at::ScalarType dtype() const { return dtype_; }  // of the weights
  // The type of the products and of what encode() and decode() return: the weights', or, beside float32
  // weights, bfloat16. Norms and what goes past the products are in the weights' type, as under autocast.
  at::ScalarType activation_type() const { return activation_type_; }
  void compute_in(at::ScalarType type);
  at::Device device() const { return encoder_positions_.device(); }
  // Copies every weight there; tied ones stay tied. Before anything holds the parameters, which are other
  // tensors then, without gradients; not behind pack_for_inference().
  void to(at::Device device);

  // Every trainable tensor once, under its Hugging Face name, in a fixed order: tied weights appear under
  // `model.shared.weight` alone, which is not here where they are not tied: nothing reads it then. The
  // tensors are the model's own: training changes them in place.
  const std::vector<std::pair<std::string, at::Tensor>>& parameters() const { return parameters_; }
  void set_requires_grad(bool on);

  // What model.safetensors holds so that transformers loads it: parameters, final_logits_bias and,
  // where the embeddings are not tied, each under its own name.
  std::vector<std::pair<std::string, at::Tensor>> state() const;

  // ids_WC int64, padded at the end; lengths_W: real positions of each row (>= 1). Returns states [W, C, D];
  // rows past a window's length hold nothing of meaning. Positions restart in each window.
  // With a gradient wanted, `graph` says what is kept for it: with another than kAutograd the layers'
  // parameters get their gradient straight in `.grad`.
  at::Tensor encode(const at::Tensor& ids_WC, const std::vector<int64_t>& lengths_W,
                    const nn::Dropout& dropout, EncoderGraph graph = EncoderGraph::kAutograd) const;

  // input_ids_BS int64 (already shifted right). Returns the last hidden states [B, S, D]. Causal, so padding
  // at the end of a row changes nothing before it. With `cache` the S ids stand at positions cache->length
  // onward.
  at::Tensor decode(const at::Tensor& input_ids_BS, nn::CrossAttention& memory, const nn::Dropout& dropout,
                    DecoderCache* cache = nullptr) const;

  DecoderCache make_cache(int64_t rows, int64_t capacity) const;

  // Lays the decoder's and the head's weights out for steps of few rows (nn/packed_linear.h), beside the
  // weights themselves: decoding is then several times faster on a CPU. On a GPU nothing is done. To be
  // called again, or undone, when the weights have changed.
  void pack_decoder();
  void unpack_decoder();
  // The same for a model that only encodes and decodes from now on, in the memory of the weights themselves
  // where the packed product is the faster one for any number of rows: parameters(), state() and
  // output_weight_VD() have nothing to give then.
  void pack_for_inference();

  // The output head: logits = hidden weight' + bias.
  const at::Tensor& output_weight_VD() const;
  const at::Tensor& output_bias_V() const;  // final_logits_bias, [V]
  at::Tensor logits(const at::Tensor& hidden) const;

  // Gives the tensor of that name and shape: fresh, or from a file.
  using TensorSource = std::function<at::Tensor(const std::string& name, at::IntArrayRef shape)>;

 private:
  BartModel(const BartConfig& config, at::ScalarType dtype, const TensorSource& source);
  at::Tensor embed(const at::Tensor& token_weight, const at::Tensor& position_weight, const LayerNorm& norm,
                   const at::Tensor& ids_BS, int64_t first_position) const;

  BartConfig config_;
  at::ScalarType dtype_ = at::kFloat;
  at::ScalarType activation_type_ = at::kFloat;
  std::vector<std::pair<std::string, at::Tensor>> parameters_;
  // The embeddings are one tensor where they are tied.
  at::Tensor shared_VD_, encoder_tokens_VD_, decoder_tokens_VD_;
  Linear head_;                                       // weight [V, D], bias final_logits_bias [V]
  at::Tensor encoder_positions_, decoder_positions_;  // [positions + 2, D]
  LayerNorm encoder_embedding_norm_, decoder_embedding_norm_;
  std::vector<EncoderLayer> encoder_layers_;
  std::vector<DecoderLayer> decoder_layers_;
};

// A model's decoder packed for as long as this lives.
class PackedDecoder {
 public:
  explicit PackedDecoder(BartModel& model) : model_(model) { model.pack_decoder(); }
  ~PackedDecoder() { model_.unpack_decoder(); }
  PackedDecoder(const PackedDecoder&) = delete;
  PackedDecoder& operator=(const PackedDecoder&) = delete;

 private:
  BartModel& model_;
};

}  // namespace precis::models

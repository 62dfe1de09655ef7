// A model on a GPU: its weights, what it writes, and where it looks, as on the CPU in float64.
#include "cuda/gpu.h"
#include "generate/attention_mass.h"
#include "generate/generate.h"
#include "memory/cross_attention.h"
#include "memory/encode.h"
#include "memory/small_bart.h"
#include "models/bart/bart.h"

namespace precis {
namespace {

class CudaModel : public OnGpu {
 protected:
  models::BartModel on_gpu(const models::BartConfig& config = small_config()) const {
    models::BartModel model = small_bart(config);
    model.to(gpu);
    return model;
  }
};

memory::DocumentPack pack_of(const models::BartConfig& config) {
  std::vector<std::vector<memory::Window>> windows;
  for (const memory::Example& made : {example(90, 1, 1), example(60, 1, 2), example(97, 1, 3)}) {
    windows.push_back(memory::cut_windows(config, made.document, 23));
  }
  return memory::pack_documents(std::move(windows)).at(0);
}

TEST_F(CudaModel, MovesWithItsWeightsTied) {
  for (const bool tied : {true, false}) {
    models::BartConfig config = small_config();
    config.tie_word_embeddings = tied;
    const models::BartModel before = small_bart(config);
    const models::BartModel after = on_gpu(config);
    EXPECT_EQ(after.device(), gpu);
    const auto &was = before.state(), &is = after.state();
    ASSERT_EQ(is.size(), was.size());
    for (size_t i = 0; i < was.size(); ++i) {
      EXPECT_EQ(is[i].first, was[i].first);
      EXPECT_EQ(is[i].second.device(), gpu);
      EXPECT_TRUE(at::equal(is[i].second.cpu(), was[i].second)) << was[i].first;
    }
    EXPECT_EQ(after.output_weight_VD().is_same(after.parameters().front().second), tied);
  }
}

TEST_F(CudaModel, WritesWhatItWritesOnTheCpu) {
  models::BartModel cpu = small_bart(), cuda = on_gpu();
  cuda.pack_decoder();  // nothing, on a GPU
  const memory::DocumentPack pack = pack_of(cpu.config());
  std::vector<generate::GenerationConfig> configs(4);
  configs[1].num_beams = 4;
  configs[1].length_penalty = 2.0;
  configs[2].num_beams = 3;
  configs[2].no_repeat_ngram_size = 2;
  configs[2].repetition_penalty = 1.3;
  configs[2].encoder_no_repeat_ngram_size = 2;
  configs[3].sampling = generate::Sampling{.temperature = 0.8, .top_k = 20, .top_p = 0.9, .min_p = 0.01};
  configs[3].num_return_sequences = 2;
  for (generate::GenerationConfig& config : configs) {
    config.eos_token_id = {2};
    config.max_length = 24;
    config.min_length = 5;
    for (const int64_t held : {2, 1, 0}) {  // layers whose keys and values are held
      const auto written = [&](const models::BartModel& model) {
        memory::DecodingCrossAttention attention(memory::encode_pack(model, pack, {}), held);
        return generate::generate(model, attention, generate::searched_documents(config, pack), config);
      };
      const auto got = written(cuda), want = written(cpu);
      ASSERT_EQ(got.size(), want.size());
      for (size_t b = 0; b < want.size(); ++b) {
        ASSERT_EQ(got[b].size(), want[b].size());
        for (size_t k = 0; k < want[b].size(); ++k) {
          EXPECT_EQ(got[b][k].token_ids, want[b][k].token_ids) << config.num_beams << " beams, held " << held;
          EXPECT_NEAR(got[b][k].score, want[b][k].score, 1e-4);  // scores are float32
        }
      }
    }
  }
}

TEST_F(CudaModel, LooksWhereItLooksOnTheCpu) {
  models::BartModel cpu = small_bart(), cuda = on_gpu();
  const memory::DocumentPack pack = pack_of(cpu.config());
  const auto mass = [&](const models::BartModel& model) {
    const memory::MemoryBatch all = memory::encode_pack(model, pack, {});
    return generate::attention_mass(model, {all.states_BTM.narrow(0, 0, 1), {all.rows_B.front()}},
                                    {2, 7, 9, 11, 30, 2}, {{1, 3}, {3, 6}});
  };
  const at::Tensor got = mass(cuda), want = mass(cpu);
  EXPECT_TRUE(got.is_cpu());
  EXPECT_LT((got - want).abs().max().item<double>(), 1e-12);
}

}  // namespace
}  // namespace precis

// How many layers hold keys and values within a budget, beside what decoding really holds at once.
#include "memory/decode_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error_of.h"
#include "memory/encode.h"
#include "memory/peak_meter.h"
#include "memory/small_bart.h"

namespace precis::memory {
namespace {

using ::testing::HasSubstr;

struct Long {
  models::BartModel model = models::BartModel::initialize(config(), 3, at::kFloat);
  DocumentPack pack = make_pack();

  static models::BartConfig config() {
    models::BartConfig config = small_config();
    config.max_position_embeddings = 256;
    config.d_model = 96;
    config.decoder_layers = 3;
    config.init_std = 0.02;
    return config;
  }
  DocumentPack make_pack() const {
    return pack_documents({cut_windows(config(), example(60000, 1, 5).document, 256)}).front();
  }
  DecodePlan plan(std::optional<int64_t> budget) const {
    return plan_decoding(model, pack, {.sequences = 4, .max_length = 16, .budget = budget});
  }
  // The plan of the largest budget that holds just so many layers.
  DecodePlan plan_with(int64_t held) const {
    DecodePlan found = plan(int64_t{1} << 40);
    while (found.held_layers > held) found = plan(found.total - 1);
    return found;
  }
};

TEST(DecodePlan, HoldsAsManyLayersAsTheBudgetLets) {
  const Long made;
  const DecodePlan all = made.plan(int64_t{1} << 40);
  EXPECT_EQ(all.held_layers, 3);
  EXPECT_EQ(all.absorbed_layers(), 0);
  const int64_t layer = 2 * made.pack.max_rows * 96 * 4;
  for (const int64_t held : {2, 1, 0}) {
    const DecodePlan plan = made.plan_with(held);
    EXPECT_EQ(plan.held_layers, held);
    EXPECT_LT(plan.total, all.total - (3 - held) * layer / 2);
  }
  EXPECT_THAT(error_of([&] { made.plan(1000); }, ErrorKind::kBudget), HasSubstr("encoder's states"));
  EXPECT_NO_THROW(made.plan({}));
}

// Four beams of one document are four queries to one memory.
struct Beams : nn::CrossAttention {
  explicit Beams(nn::CrossAttention& memory) : memory(memory) {}
  at::Tensor attend(int64_t layer, const at::Tensor& query, const nn::CrossProjection& projection,
                    const nn::Dropout& dropout) override {
    return memory.attend(layer, query.view({1, 4, -1}), projection, dropout).view_as(query);
  }
  nn::CrossAttention& memory;
};

TEST(DecodePlan, IsNotBelowAndNotFarAboveWhatDecodingHolds) {
  PeakMeter& meter = PeakMeter::instance();
  const Long made;
  const at::NoGradGuard no_grad;
  const DecodePlan all = made.plan(int64_t{1} << 40);
  for (const int64_t held : {3, 1, 0}) {
    const int64_t planned = held == 3 ? all.tensors : made.plan_with(held).tensors;
    meter.reset();
    {
      DecodingCrossAttention attention(encode_pack(made.model, made.pack, {}), held);
      Beams beams(attention);
      models::DecoderCache cache = made.model.make_cache(4, 16);
      for (int64_t step = 0; step < 2; ++step) {
        made.model.decode(at::full({4, 1}, 2, at::kLong), beams, {}, &cache);
      }
    }
    EXPECT_LE(meter.peak(), planned) << held;
    EXPECT_GE(meter.peak(), planned / 2) << held;
  }
}

}  // namespace
}  // namespace precis::memory

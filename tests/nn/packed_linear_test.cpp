// Packed products beside the general ones.
#include "nn/packed_linear.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "nn/large_tensor.h"

namespace precis::nn {
namespace {

// Whether `found` is the product but for the rounding of its sums of up to 1,024 terms, and of the result.
bool is_product(const at::Tensor& found, const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& bias) {
  const auto product = [&](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
    const at::Tensor sum = at::matmul(a.to(at::kDouble), b.to(at::kDouble).transpose(-2, -1));
    return c.defined() ? sum + c.to(at::kDouble) : sum;
  };
  const at::Tensor exact = product(x, weight, bias);
  const at::Tensor terms = product(x.abs(), weight.abs(), bias.defined() ? bias.abs() : bias);
  const double in = static_cast<double>(x.size(-1));
  const double sums = (std::min(in, 1024.0) + in / 1024 + 2) * 0x1p-24;
  const double result = found.scalar_type() == at::kBFloat16 ? 0x1p-8 : 0.0;
  return found.sizes() == exact.sizes() && found.scalar_type() == x.scalar_type() &&
         ((found.to(at::kDouble) - exact).abs() <= terms * sums + exact.abs() * result * 1.01)
             .all()
             .item<bool>();
}

void expect_products(int64_t rows, int64_t in, int64_t outputs) {
  SCOPED_TRACE(testing::Message() << rows << " rows, [" << outputs << ", " << in << "]");
  const at::Tensor x = at::randn({rows, in}), weight = at::randn({outputs, in}), bias = at::randn({outputs});
  const PackedWeight packed = pack_weight(weight);
  ASSERT_TRUE(packed.defined());
  EXPECT_TRUE(is_product(packed_linear(x, packed, bias), x, weight, bias));
  EXPECT_TRUE(is_product(packed_linear(x, packed, at::Tensor()), x, weight, at::Tensor()));

  const at::Tensor x16 = x.to(at::kBFloat16), weight16 = weight.to(at::kBFloat16),
                   bias16 = bias.to(at::kBFloat16);
  EXPECT_TRUE(is_product(packed_linear(x16, pack_weight(weight16), bias16), x16, weight16, bias16));
}

TEST(PackedLinear, IsTheProduct) {
  at::manual_seed(1);
  for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 13, 200}) {
    for (const int64_t in : {1, 7, 64, 1023, 1024, 2500}) {
      for (const int64_t outputs : {1, 15, 16, 17, 100}) expect_products(rows, in, outputs);
    }
  }
}

TEST(PackedLinear, TakesWeightsOfAnyStrides) {
  const at::Tensor x = at::randn({6, 3, 40});
  const at::Tensor weights = at::randn({2, 40, 3, 21}).permute({0, 2, 3, 1}).flatten(0, 1);  // [6, 21, 40]
  EXPECT_TRUE(is_product(packed_linear(x, pack_weight(weights), at::Tensor()), x, weights, at::Tensor()));
  const at::Tensor across = at::randn({6, 40, 21}).transpose(1, 2);
  EXPECT_TRUE(is_product(packed_linear(x, pack_weight(across), at::Tensor()), x, across, at::Tensor()));
}

TEST(PackedLinear, TakesTheWeightsOwnMemory) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t outputs : {16, 320, 1000, 1009}) {
      SCOPED_TRACE(testing::Message() << outputs << " outputs of " << type);
      const at::Tensor values = at::randn({outputs, 100}).to(type), x = at::randn({5, 100}).to(type);
      at::Tensor large = empty_weight(values.sizes(), type), small = values.clone(),
                 across = values.t().clone().t();
      large.copy_(values);
      const void* memory = large.data_ptr();
      const PackedWeight copied = pack_weight(values), packed = pack_in_place(large);
      EXPECT_FALSE(large.defined());
      EXPECT_EQ(packed.panels.data_ptr() == memory, values.nbytes() >= size_t{64} << 10 || outputs % 16 == 0);
      EXPECT_TRUE(at::equal(packed.panels, copied.panels));
      EXPECT_TRUE(at::equal(pack_in_place(small).panels, copied.panels));   // no room where outputs are odd
      EXPECT_TRUE(at::equal(pack_in_place(across).panels, copied.panels));  // rows apart
    }
  }
}

TEST(PackedLinear, GivesItsRowsBack) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor weight = at::randn({1009, 70}).to(type);
    const at::Tensor ids = at::randint(1009, {30, 11}, at::kLong);
    EXPECT_TRUE(at::equal(packed_rows(pack_weight(weight), ids), at::embedding(weight, ids)));
  }
  for (const int64_t id : {-1, 3}) {
    EXPECT_THROW(packed_rows(pack_weight(at::ones({3, 4})), at::full({1}, id, at::kLong)), Error);
  }
  EXPECT_EQ(packed_rows(pack_weight(at::ones({3, 4})), at::empty({0, 2}, at::kLong)).sizes(),
            at::IntArrayRef({0, 2, 4}));
}

TEST(PackedLinear, GivesARowTheSameResultWhateverIsBesideIt) {
  const at::Tensor x = at::randn({37, 300}), weight = at::randn({50, 300});
  const PackedWeight packed = pack_weight(weight);
  const at::Tensor all = packed_linear(x, packed, at::Tensor());
  for (int64_t row = 0; row < x.size(0); ++row) {
    EXPECT_TRUE(at::equal(packed_linear(x.narrow(0, row, 1), packed, at::Tensor()), all.narrow(0, row, 1)));
  }
}

TEST(PackedLinear, LosesLittleInLongSums) {
  const at::Tensor x = at::rand({2, 1'000'000}), weight = at::rand({16, 1'000'000});
  const at::Tensor exact = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
  const at::Tensor found = packed_linear(x, pack_weight(weight), at::Tensor()).to(at::kDouble);
  EXPECT_LT(((found - exact).abs() / exact).max().item<double>(), 1e-5);
}

TEST(PackedLinear, HasNothingForOtherTypes) {
  EXPECT_FALSE(pack_weight(at::randn({16, 16}, at::kDouble)).defined());
  EXPECT_FALSE(pack_weight(at::ones({16, 16}, at::kHalf)).defined());
}

}  // namespace
}  // namespace precis::nn

// Column sums against float64.
#include "kernels/column_sums.h"

#include <gtest/gtest.h>

namespace precis::kernels {

TEST(ColumnSums, AreThoseOfTheRows) {
  for (const auto& [R, D] : {std::pair(1, 16), std::pair(77, 512), std::pair(300, 1040)}) {
    const at::Tensor rows = at::randn({R, D}, at::kDouble).to(at::kBFloat16);
    if (!has_column_sums(rows)) GTEST_SKIP() << "not on this processor";
    EXPECT_TRUE(column_sums(rows).to(at::kDouble).allclose(rows.to(at::kDouble).sum(0), 1e-5, 1e-4));
  }
  EXPECT_FALSE(has_column_sums(at::zeros({4, 24}, at::kBFloat16)));
  EXPECT_FALSE(has_column_sums(at::zeros({16, 16}, at::kBFloat16).t().narrow(0, 0, 4)));
  EXPECT_FALSE(has_column_sums(at::zeros({4, 16})));
}

}  // namespace precis::kernels

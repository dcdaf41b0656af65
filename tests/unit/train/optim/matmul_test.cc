#include "fathom/train/optim/matmul.h"

#include <gtest/gtest.h>

#include "tests/support/compare.h"
#include "tests/unit/train/optim/random_numbers.h"

namespace fathom::optim {
namespace {

using testing::all_within;

std::vector<double> widen(const std::vector<float>& numbers) {
  return {numbers.begin(), numbers.end()};
}

struct Extents {
  Index rows;
  Index inner;
  Index columns;
};

// Whole and partial tiles, one and several panels.
class Multiply : public ::testing::TestWithParam<Extents> {
 protected:
  // The product in float, with a margin behind it that has to stay, against plain loops in double.
  static void compare(const Extents& extents,
                      MatrixProduct<float> product,
                      const std::vector<float>& left,
                      const std::vector<float>& right,
                      const std::vector<float>& addend) {
    const auto& [rows, inner, columns] = extents;
    product.rows = rows;
    product.inner = inner;
    product.columns = columns;
    product.left = left.data();
    product.right = right.data();
    product.addend = addend.empty() ? nullptr : addend.data();
    std::vector<float> found(to_size(rows * columns + 32), 7.0F);
    product.out = found.data();
    multiply(product);
    const std::vector<double> wide_left = widen(left);
    const std::vector<double> wide_right = widen(right);
    const std::vector<double> wide_addend = widen(addend);
    std::vector<double> expected(to_size(rows * columns));
    multiply(MatrixProduct<double>{.rows = rows,
                                   .inner = inner,
                                   .columns = columns,
                                   .left = wide_left.data(),
                                   .right = wide_right.data(),
                                   .right_is_transposed = product.right_is_transposed,
                                   .addend = addend.empty() ? nullptr : wide_addend.data(),
                                   .product_scale = static_cast<double>(product.product_scale),
                                   .addend_scale = static_cast<double>(product.addend_scale),
                                   .out = expected.data()});
    EXPECT_EQ(std::vector<float>(found.end() - 32, found.end()), std::vector<float>(32, 7.0F));
    found.resize(expected.size());
    EXPECT_TRUE(all_within(found, expected, 1e-6 + 2e-6 * static_cast<double>(inner)));
  }
};

TEST_P(Multiply, IsWhatPlainLoopsGive) {
  const auto& [rows, inner, columns] = GetParam();
  compare(GetParam(), {}, normal_numbers<float>(rows * inner, 1),
          normal_numbers<float>(inner * columns, 2), {});
}

TEST_P(Multiply, ScalesTheProductAndTheAddend) {
  const auto& [rows, inner, columns] = GetParam();
  compare(GetParam(), {.product_scale = 0.5F, .addend_scale = -2.0F},
          normal_numbers<float>(rows * inner, 1), normal_numbers<float>(inner * columns, 2),
          normal_numbers<float>(rows * columns, 3));
}

TEST_P(Multiply, ReadsTransposedRows) {
  const auto& [rows, inner, columns] = GetParam();
  compare(GetParam(), {.right_is_transposed = true}, normal_numbers<float>(rows * inner, 1),
          normal_numbers<float>(inner * columns, 2), {});
}

TEST_P(Multiply, GramMatricesAreSymmetricToTheBit) {
  const Index rows = GetParam().rows;
  const Index inner = GetParam().inner;
  const std::vector<float> left = normal_numbers<float>(rows * inner, 1);
  compare({rows, inner, rows}, {.right_is_transposed = true, .is_symmetric = true}, left, left, {});
  std::vector<float> out(to_size(rows * rows));
  multiply(MatrixProduct<float>{.rows = rows,
                                .inner = inner,
                                .columns = rows,
                                .left = left.data(),
                                .right = left.data(),
                                .right_is_transposed = true,
                                .out = out.data(),
                                .is_symmetric = true});
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < i; ++j) {
      ASSERT_EQ(out[to_size(i * rows + j)], out[to_size(j * rows + i)]) << i << ", " << j;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Extents,
                         Multiply,
                         ::testing::Values(Extents{1, 1, 1},
                                           Extents{5, 3, 7},
                                           Extents{12, 256, 32},
                                           Extents{13, 257, 33},
                                           Extents{64, 600, 64},
                                           Extents{37, 130, 37},
                                           Extents{128, 384, 128}));

}  // namespace
}  // namespace fathom::optim

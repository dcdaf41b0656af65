#include "fathom/compute/ops/linear.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class Linear : public OpTest {
 protected:
  static numeric::WeightView view(const std::vector<float>& values, Index rows) {
    numeric::WeightView result;
    result.rows = rows;
    result.columns = to_index(values.size()) / rows;
    result.data = reinterpret_cast<const std::byte*>(values.data());
    result.row_stride_bytes = 4 * result.columns;
    return result;
  }
  const std::vector<float> weight_ = {1, 2, 3, 4, 5, 6};  // [3, 2]
};

TEST_F(Linear, MultipliesEveryRow) {
  const auto out = linear(context(), view(weight_, 3), make({2, 2}, {1, 10, 2, 0}), Rounding::None);
  EXPECT_EQ(numbers(out), (std::vector<float>{21, 43, 65, 2, 6, 10}));
}

TEST_F(Linear, IntoWritesOnlyItsColumns) {
  const auto out = make({2, 5}, std::vector<float>(10, -1));
  linear_into(context(), view(weight_, 3), make({2, 2}, {1, 10, 2, 0}), Rounding::None, out, 1);
  EXPECT_EQ(numbers(out), (std::vector<float>{-1, 21, 43, 65, -1, -1, 2, 6, 10, -1}));
}

TEST_F(Linear, GroupsSeeTheirOwnColumnsAndRows) {
  const std::vector<float> weight = {1, 2, 3, 4, 5, 6, 7, 8};  // two groups of [2, 2]
  const auto out =
      grouped_linear(context(), view(weight, 4), make({1, 4}, {1, 0, 0, 1}), 2, Rounding::None);
  EXPECT_EQ(numbers(out), (std::vector<float>{1, 3, 6, 8}));
}

TEST_F(Linear, ExpertsMultiplyTheRowsTheirSlotsName) {
  const std::vector<float> other = {10, 0, 0, 10, 1, 1};
  const numeric::WeightView weights[] = {view(weight_, 3), view(other, 3)};
  const std::vector<std::int32_t> source = {1, 0, 1};
  const std::vector<std::int32_t> offsets = {0, 1, 3};
  const auto out = expert_linear(context(), weights, make({2, 2}, {1, 2, 3, 4}), source, offsets,
                                 Rounding::None);
  EXPECT_EQ(numbers(out), (std::vector<float>{11, 25, 39, 10, 20, 3, 30, 40, 7}));
}

TEST_F(Linear, WidthsThatDoNotFitAreNamed) {
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "linear: columns of x is 3, expected 2", [&] {
        linear_into(context(), view(weight_, 3), make({1, 3}, {1, 2, 3}), Rounding::None,
                    make({1, 3}, {0, 0, 0}), 0);
      }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "groups", [&] {
    grouped_linear(context(), view(weight_, 3), make({1, 4}, {1, 2, 3, 4}), 2, Rounding::None);
  }));
}

}  // namespace
}  // namespace fathom::ops

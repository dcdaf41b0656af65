#include "fathom/compute/ops/copy.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/gradient_check.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class Copy : public OpTest {};

TEST_F(Copy, MovesAllNumbersWhateverTheShape) {
  const auto to = make({2, 3}, std::vector<float>(6));
  copy(context(), make({3, 2}, {1, 2, 3, 4, 5, 6}), to);
  EXPECT_EQ(numbers(to), (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST_F(Copy, RepeatGivesEveryStreamTheRow) {
  const auto to = make({2, 3, 2}, std::vector<float>(12));
  repeat_rows(context(), make({2, 2}, {1, 2, 3, 4}), to);
  EXPECT_EQ(numbers(to), (std::vector<float>{1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4}));
}

TEST_F(Copy, AnotherSizeOrTypeIsABug) {
  const auto six = make({6}, std::vector<float>(6));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "num_elements",
                                  [&] { copy(context(), six, make({5}, std::vector<float>(5))); }));
  const auto ints = tensor::Tensor::allocate(context().arena, tensor::DType::I32, {6});
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "dtype", [&] { copy(context(), six, ints); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "expected [2, 3, 3]", [&] {
    repeat_rows(context(), six.reshape({2, 3}), make({2, 3, 2}, std::vector<float>(12)));
  }));
}

TEST(CopyGradient, MeetsCentralDifferences) {
  testing::GradientCheck check(2);
  const auto from = check.add_value("from", {2, 3});
  EXPECT_TRUE(check.check([&](Context& context) {
    const tensor::Tensor copied = context.allocate({3, 2});
    copy(context, check.value(from), copied);
    const tensor::Tensor repeated = context.allocate({2, 4, 3});
    repeat_rows(context, check.value(from), repeated);
    return std::vector{copied, repeated};
  }));
}

}  // namespace
}  // namespace fathom::ops

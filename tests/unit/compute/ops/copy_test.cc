#include "fathom/compute/ops/copy.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/compute/ops/ops_testing.h"

namespace fathom::ops {
namespace {

class Copy : public OpTest {};

TEST_F(Copy, MovesAllNumbersWhateverTheShape) {
  const auto to = make({2, 3}, std::vector<float>(6));
  copy(make({3, 2}, {1, 2, 3, 4, 5, 6}), to);
  EXPECT_EQ(numbers(to), (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST_F(Copy, RepeatGivesEveryStreamTheRow) {
  const auto to = make({2, 3, 2}, std::vector<float>(12));
  repeat_rows(make({2, 2}, {1, 2, 3, 4}), to);
  EXPECT_EQ(numbers(to), (std::vector<float>{1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4}));
}

TEST_F(Copy, AnotherSizeOrTypeIsABug) {
  const auto six = make({6}, std::vector<float>(6));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "num_elements",
                                  [&] { copy(six, make({5}, std::vector<float>(5))); }));
  const auto ints = tensor::Tensor::allocate(context().arena, tensor::DType::I32, {6});
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "dtype", [&] { copy(six, ints); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "expected [2, 3, 3]", [&] {
    repeat_rows(six.reshape({2, 3}), make({2, 3, 2}, std::vector<float>(12)));
  }));
}

}  // namespace
}  // namespace fathom::ops

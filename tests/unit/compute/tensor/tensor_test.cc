#include "fathom/compute/tensor/tensor.h"

#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::tensor {
namespace {

TEST(Shape, CountsItsElements) {
  EXPECT_EQ(Shape({3, 4, 5}).num_elements(), 60);
  EXPECT_EQ(Shape({3, 0, 5}).num_elements(), 0);
  EXPECT_EQ(Shape{}.num_elements(), 1);
  EXPECT_EQ(Shape({3, 4}).last(), 4);
  EXPECT_EQ(Shape{}.last(), 1);
  EXPECT_EQ(to_string(Shape({3, 4})), "[3, 4]");
  EXPECT_EQ(to_string(Shape{}), "[]");
}

TEST(Shape, NegativeTooManyOrOverflowingDimensionsAreABug) {
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "dim >= 0", [] { Shape({2, -1}); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "kMaxRank", [] { Shape({1, 1, 1, 1, 1}); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "has_value", [] {
    return Shape({Index{1} << 40, Index{1} << 40}).num_elements();
  }));
}

TEST(Shape, EqualOnlyIfRankAndEveryDimensionAre) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
  EXPECT_NE(Shape({2, 3}), Shape({2, 3, 1}));
}

TEST(Tensor, SliceAndReshapeShareTheNumbers) {
  std::vector<float> numbers(24);
  std::iota(numbers.begin(), numbers.end(), 0.0F);
  const Tensor tensor(numbers.data(), DType::F32, {4, 3, 2});
  const Tensor slice = tensor.slice(1, 2);
  EXPECT_EQ(slice.shape(), Shape({2, 3, 2}));
  EXPECT_EQ(slice.data<float>()[0], 6);
  const Tensor flat = slice.reshape({12});
  EXPECT_EQ(flat.data<float>()[11], 17);
  EXPECT_EQ(flat.slice(2, 3).data<float>()[0], 8);
  EXPECT_EQ(flat.slice(2, 3).shape(), Shape({3}));
  flat.data<float>()[0] = 99;
  EXPECT_EQ(numbers[6], 99);
}

TEST(Tensor, SlicesOfEveryRankKeepTheInnerDimensions) {
  std::vector<double> numbers(16);
  const Shape shapes[] = {{4}, {4, 2}, {4, 2, 2}, {4, 2, 1, 2}};
  const Shape expected[] = {{1}, {1, 2}, {1, 2, 2}, {1, 2, 1, 2}};
  for (int i = 0; i < 4; ++i) {
    const Tensor tensor(numbers.data(), DType::F64, shapes[i]);
    const Tensor last = tensor.slice(3, 1);
    EXPECT_EQ(last.shape(), expected[i]);
    EXPECT_EQ(last.data<double>(), numbers.data() + 3 * tensor.num_elements() / 4);
    EXPECT_EQ(tensor.slice(4, 0).num_elements(), 0);
  }
}

TEST(Tensor, MatrixFoldsAllButTheLastDimension) {
  std::vector<float> numbers(24);
  const Tensor tensor(numbers.data(), DType::F32, {4, 3, 2});
  const auto rows = tensor.matrix<float>();
  EXPECT_EQ(rows.rows, 12);
  EXPECT_EQ(rows.columns, 2);
  const auto wide = tensor.matrix<const float>(6);
  EXPECT_EQ(wide.rows, 4);
  EXPECT_EQ(wide.row(2), numbers.data() + 12);
  EXPECT_EQ(wide.slice_columns(4, 2).row(3), numbers.data() + 22);
  EXPECT_EQ(wide.slice_rows(1, 2).row(1), numbers.data() + 12);
  EXPECT_EQ(wide.slice_columns(4, 2).columns, 2);
}

TEST(Tensor, AnotherTypeOrARangeOutsideIsABug) {
  std::vector<float> numbers(6);
  const Tensor tensor(numbers.data(), DType::F32, {3, 2});
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "dtype", [&] { tensor.data<double>(); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "first", [&] { tensor.slice(2, 2); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "first", [&] { tensor.slice(-1, 1); }));
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "num_elements", [&] { tensor.reshape({5}); }));
  EXPECT_TRUE(
      testing::fails_with(ErrorCode::Internal, "columns", [&] { tensor.matrix<float>(4); }));
}

TEST(Tensor, AllocatedOnesAreAlignedAndOfTheSizeOfTheirType) {
  Arena arena(1 << 26);
  const Tensor floats = Tensor::allocate(arena, DType::F32, {3, 5});
  const Tensor doubles = Tensor::allocate(arena, DType::F64, {3, 5});
  const Tensor ints = Tensor::allocate(arena, DType::I32, {1});
  EXPECT_EQ(floats.num_bytes(), 60);
  EXPECT_EQ(doubles.num_bytes(), 120);
  EXPECT_FALSE(ints.is_empty());
  EXPECT_TRUE(Tensor{}.is_empty());
  for (const Tensor& tensor : {floats, doubles, ints}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.raw()) % 64, 0U);
  }
}

TEST(RowTable, FindsRowsAcrossPages) {
  std::vector<float> first(16 * 3);
  std::vector<float> second(16 * 3);
  const void* pages[] = {first.data(), second.data()};
  const PagedRows paged = {.dtype = DType::F32, .pages = pages, .num_rows = 20, .width = 3};
  const auto table = paged.table<float>();
  EXPECT_EQ(table.row(15), first.data() + 45);
  EXPECT_EQ(table.row(16), second.data());
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "dtype", [&] { paged.table<double>(); }));
}

}  // namespace
}  // namespace fathom::tensor

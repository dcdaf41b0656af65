#include "fathom/model/kv/row_store.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/numeric/int16_rows.h"

#include "tests/support/expect_error.h"

namespace fathom::kv {
namespace {

constexpr Index kWidth = 3;
constexpr Index kPage = RowStore::kRowsPerPage;

// A store beside a plain list of what was appended to it.
class Twin {
 public:
  void append(Index count) {
    std::vector<float> rows;
    for (Index i = 0; i < count * kWidth; ++i) {
      rows.push_back(next_++);
    }
    store.append({rows.data(), tensor::DType::F32, {count, kWidth}});
    expected.insert(expected.end(), rows.begin(), rows.end());
  }
  void truncate(Index num_rows) {
    store.truncate(num_rows);
    expected.resize(to_size(num_rows * kWidth));
  }
  // Forks number their rows differently.
  void renumber(float first) { next_ = first; }

  ::testing::AssertionResult is_right() const {
    if (store.num_rows() * kWidth != to_index(expected.size())) {
      return ::testing::AssertionFailure() << store.num_rows() << " rows";
    }
    const auto table = store.view().table<float>();
    for (Index row = 0; row < store.num_rows(); ++row) {
      for (Index i = 0; i < kWidth; ++i) {
        if (table.row(row)[i] != expected[to_size(row * kWidth + i)]) {
          return ::testing::AssertionFailure() << "row " << row << " is " << table.row(row)[i];
        }
      }
    }
    return ::testing::AssertionSuccess();
  }

  RowStore store{kWidth, tensor::DType::F32};
  std::vector<float> expected;

 private:
  float next_ = 0;
};

TEST(RowStore, KeepsEveryRowWhateverTheChunks) {
  Twin twin;
  for (const Index count : {1, 15, 16, 17, 0, 1, 100, 3}) {
    twin.append(count);
    ASSERT_TRUE(twin.is_right());
  }
}

TEST(RowStore, WriteToAForkIsNotSeenByTheOther) {
  Twin left;
  left.append(kPage + 5);
  Twin right = left;
  right.renumber(1e6F);
  right.append(3);
  left.append(7);
  EXPECT_TRUE(left.is_right());
  EXPECT_TRUE(right.is_right());
}

TEST(RowStore, RowsAppendedAfterTruncationReplaceTheForgottenOnesOnlyHere) {
  Twin left;
  left.append(2 * kPage);
  Twin right = left;
  right.renumber(1e6F);
  right.truncate(kPage - 3);
  right.append(kPage);
  EXPECT_TRUE(left.is_right());
  EXPECT_TRUE(right.is_right());
}

TEST(RowStore, RandomForksTruncationsAndAppendsAgreeWithAPlainList) {
  std::mt19937 random(1);
  std::vector<Twin> twins(4);
  for (int step = 0; step < 4000; ++step) {
    Twin& twin = twins[random() % twins.size()];
    switch (random() % 4) {
      case 0:
        twin.truncate(
            twin.store.num_rows() == 0 ? 0 : static_cast<Index>(random()) % twin.store.num_rows());
        break;
      case 1: {
        const Twin& other = twins[random() % twins.size()];
        Twin fork = other;
        twin = std::move(fork);
        twin.renumber(static_cast<float>(step * 1000));
        break;
      }
      default:
        twin.append(static_cast<Index>(random() % 40));
    }
    if (step % 50 == 0) {
      for (const Twin& each : twins) {
        ASSERT_TRUE(each.is_right()) << "step " << step;
      }
    }
  }
}

TEST(RowStore, RowsOfCodesAreWhatTheirNumbersRoundTo) {
  constexpr Index kNumbers = 5;
  RowStore store(kNumbers, tensor::DType::Int16Row);
  std::vector<float> numbers;
  for (Index i = 0; i < (kPage + 3) * kNumbers; ++i) {
    numbers.push_back(static_cast<float>(i * 37 % 101 - 50));
  }
  for (const auto& [first, count] : {std::pair<Index, Index>{0, 5}, {5, kPage - 2}}) {
    store.append({numbers.data() + first * kNumbers, tensor::DType::F32, {count, kNumbers}});
  }
  const tensor::PagedRows view = store.view();
  EXPECT_EQ(view.width, kNumbers);
  EXPECT_EQ(store.num_bytes(), 2 * kPage * (6 * 2 + 4));
  const auto table = view.table<std::int16_t>();
  for (Index row = 0; row < kPage + 3; ++row) {
    std::int16_t codes[kNumbers];
    const float scale =
        numeric::round_to_int16_row(numbers.data() + row * kNumbers, kNumbers, codes);
    EXPECT_TRUE(std::equal(codes, codes + kNumbers, table.row(row)));
    EXPECT_EQ(table.row(row)[kNumbers], 0);
    EXPECT_EQ(numeric::scale_of_int16_row(table.row(row), kNumbers), scale);
  }
}

TEST(RowStore, MemoryIsThePagesThatArePresent) {
  Twin twin;
  EXPECT_EQ(twin.store.num_bytes(), 0);
  twin.append(2 * kPage + 1);
  EXPECT_EQ(twin.store.num_bytes(), 3 * kPage * kWidth * 4);
  twin.store.drop_page(1);
  EXPECT_EQ(twin.store.num_bytes(), 2 * kPage * kWidth * 4);
  EXPECT_TRUE(twin.store.has_rows(0, kPage));
  EXPECT_FALSE(twin.store.has_rows(kPage - 1, kPage + 1));
  EXPECT_TRUE(twin.store.has_rows(2 * kPage, 2 * kPage + 1));
  EXPECT_FALSE(twin.store.has_rows(2 * kPage, 2 * kPage + 2));
  EXPECT_TRUE(twin.store.has_rows(5 * kPage, 5 * kPage));
}

TEST(RowStore, PagesOfAnotherStoreMakeTheSameStore) {
  Twin twin;
  twin.append(3 * kPage + 5);
  twin.store.drop_page(1);
  RowStore copy(kWidth, tensor::DType::F32);
  for (Index page = 0; page < twin.store.num_pages(); ++page) {
    const auto bytes = twin.store.page(page);
    EXPECT_EQ(bytes.empty(), page == 1);
    EXPECT_EQ(twin.store.has_page(page), page != 1);
    const auto place = copy.append_page(page < 3 ? kPage : 5, !bytes.empty());
    ASSERT_EQ(place.size(), bytes.size());
    std::copy(bytes.begin(), bytes.end(), place.begin());
  }
  EXPECT_EQ(copy.num_rows(), 3 * kPage + 5);
  EXPECT_EQ(copy.num_bytes(), twin.store.num_bytes());
  EXPECT_FALSE(copy.has_rows(kPage, kPage + 1));
  float next[kWidth] = {1, 2, 3};
  copy.append({next, tensor::DType::F32, {1, kWidth}});
  const auto table = copy.view().table<float>();
  const auto expected = twin.store.view().table<float>();
  for (const Index row : {Index{0}, kPage - 1, 2 * kPage, 3 * kPage + 4}) {
    EXPECT_EQ(table.row(row)[2], expected.row(row)[2]) << row;
  }
  EXPECT_EQ(table.row(3 * kPage + 5)[1], 2);
}

TEST(RowStore, APageIsOnlyAddedWhereOneEnds) {
  RowStore store(kWidth, tensor::DType::F32);
  store.append_page(1, true);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "kRowsPerPage",
                                  [&] { store.append_page(1, true); }));
}

TEST(RowStore, RowsOfAnotherWidthOrTypeAreABug) {
  RowStore store(kWidth, tensor::DType::F32);
  std::vector<double> numbers(4);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "width_", [&] {
    store.append({numbers.data(), tensor::DType::F32, {1, 4}});
  }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "dtype_", [&] {
    store.append({numbers.data(), tensor::DType::F64, {1, 3}});
  }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "num_rows", [&] { store.truncate(1); }));
  EXPECT_EQ(store.num_rows(), 0);
}

TEST(RowStore, Fp32RowsAreRoundedWhereBf16IsKept) {
  RowStore store(kWidth, tensor::DType::BF16);
  const float infinity = std::numeric_limits<float>::infinity();
  // Between 1 and its next neighbour, 1 + 2^-7: below the middle, the middle, above it.
  std::vector<float> rows = {1 + 0x1p-9F, 1 + 0x1p-8F, 1 + 0x1.8p-8F, -0.0F, infinity, 3e38F};
  store.append({rows.data(), tensor::DType::F32, {2, kWidth}});
  EXPECT_EQ(store.num_bytes(), kPage * kWidth * 2);
  const auto table = store.view().table<std::uint16_t>();
  const std::vector<std::uint16_t> expected = {0x3f80, 0x3f80, 0x3f81, 0x8000, 0x7f80, 0x7f62};
  for (Index i = 0; i < 2 * kWidth; ++i) {
    EXPECT_EQ(table.row(i / kWidth)[i % kWidth], expected[to_size(i)]) << i;
  }
}

}  // namespace
}  // namespace fathom::kv

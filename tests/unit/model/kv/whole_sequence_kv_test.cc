#include "fathom/model/kv/whole_sequence_kv.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::kv {
namespace {

const std::vector<config::CacheStream> kLayout = {{.layer_idx = 0,
                                                   .kind = config::StreamKind::Window,
                                                   .width = 3,
                                                   .tokens_per_row = 1,
                                                   .lookback_tokens = 4,
                                                   .block_tokens = 0,
                                                   .overlap_tokens = 0}};

TEST(WholeSequenceKv, ShowsTheVeryRowsThatWereAppended) {
  tensor::Arena arena(1 << 26);
  WholeSequenceKv kv(kLayout, tensor::DType::F64);
  EXPECT_EQ(kv.rows(0).num_rows, 0);
  EXPECT_EQ(kv.rows(0).dtype, tensor::DType::F64);  // also of a stream without rows
  const tensor::Tensor rows = tensor::Tensor::allocate(arena, tensor::DType::F64, {35, 3});
  kv.append(0, rows);
  const auto table = kv.rows(0).table<double>();
  EXPECT_EQ(table.num_rows, 35);
  for (const Index row : {0, 15, 16, 34}) {
    EXPECT_EQ(table.row(row), rows.data<double>() + row * 3);
  }
}

TEST(WholeSequenceKv, MoreRowsAreRefusedUntilTheFirstAreForgotten) {
  tensor::Arena arena(1 << 26);
  WholeSequenceKv kv(kLayout, tensor::DType::F32);
  const tensor::Tensor rows = tensor::Tensor::allocate(arena, tensor::DType::F32, {2, 3});
  kv.append(0, rows);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Unsupported, "stream 0 has 2 rows",
                                  [&] { kv.append(0, rows); }));
  kv.discard_uncommitted();
  EXPECT_EQ(kv.rows(0).num_rows, 0);
  kv.append(0, rows);
  kv.commit(2);
  EXPECT_EQ(kv.rows(0).num_rows, 0);
}

}  // namespace
}  // namespace fathom::kv

#include "fathom/model/layers/joined_rows.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "fathom/model/kv/sequence_cache.h"

namespace fathom::layers {
namespace {

// Rows per token that hold 1000 times the sequence's number plus the position.
class JoinedRowsTest : public ::testing::Test {
 protected:
  static std::vector<config::CacheStream> layout() {
    return {{.layer_idx = 0,
             .kind = config::StreamKind::Window,
             .width = 2,
             .tokens_per_row = 1,
             .lookback_tokens = 7,
             .block_tokens = 0,
             .overlap_tokens = 0}};
  }
  // A sequence of `before` tokens and `added` of the step in progress.
  void add_sequence(Index before, Index added) {
    caches_.push_back(std::make_unique<kv::SequenceCache>(layout(), tensor::DType::F32));
    append(*caches_.back(), before);
    caches_.back()->commit(before);
    counts_.push_back(added);
  }
  TokenBatch begin_step() {
    tokens_.clear();
    std::vector<kv::KvStore*> stores;
    for (std::size_t idx = 0; idx < caches_.size(); ++idx) {
      tokens_.resize(tokens_.size() + to_size(counts_[idx]));
      stores.push_back(caches_[idx].get());
    }
    const TokenBatch batch = TokenBatch::of(arena_, tokens_, counts_, stores);
    for (std::size_t idx = 0; idx < caches_.size(); ++idx) {
      append(*caches_[idx], counts_[idx]);
    }
    return batch;
  }
  void append(kv::SequenceCache& cache, Index count) {
    const Index first = cache.rows(0).num_rows;
    for (Index i = 0; i < count; ++i) {
      std::vector<float> row = {sequence_number(cache) * 1000 + static_cast<float>(first + i), 0};
      cache.append(0, {row.data(), tensor::DType::F32, {1, 2}});
    }
  }
  float sequence_number(const kv::SequenceCache& cache) const {
    for (std::size_t idx = 0; idx < caches_.size(); ++idx) {
      if (caches_[idx].get() == &cache) {
        return static_cast<float>(idx);
      }
    }
    return -1;
  }
  // Every row from `num_before` before a sequence's step on is where the table says.
  void expect_rows(const TokenBatch& batch, Index num_before) {
    const JoinedRows joined = join_rows(arena_, batch, 0, num_before);
    const auto table = joined.rows.table<float>();
    ASSERT_EQ(joined.first_rows.size(), batch.segments.size());
    for (std::size_t idx = 0; idx < batch.segments.size(); ++idx) {
      const Segment& segment = batch.segments[idx];
      for (Index row = std::max<Index>(0, segment.position - num_before);
           row < segment.position + segment.num_tokens; ++row) {
        ASSERT_LT(joined.first_rows[idx] + row, table.num_rows);
        ASSERT_GE(joined.first_rows[idx] + row, 0);
        ASSERT_EQ(table.row(joined.first_rows[idx] + row)[0],
                  static_cast<float>(1000 * to_index(idx) + row))
            << "sequence " << idx << " row " << row;
      }
    }
  }

  tensor::Arena arena_;
  std::vector<std::unique_ptr<kv::SequenceCache>> caches_;
  std::vector<Index> counts_;
  std::vector<std::int32_t> tokens_;
};

TEST_F(JoinedRowsTest, EverySequenceFindsItsRows) {
  for (const auto& [before, added] : std::vector<std::pair<Index, Index>>{
           {0, 1}, {15, 1}, {16, 3}, {17, 20}, {100, 1}, {0, 40}, {64, 16}}) {
    add_sequence(before, added);
  }
  const TokenBatch batch = begin_step();
  expect_rows(batch, kEveryRow);
  for (const Index num_before : {0, 1, 7, 16, 31, 1000}) {
    expect_rows(batch, num_before);
  }
}

TEST_F(JoinedRowsTest, OneSequenceIsItsOwnTable) {
  add_sequence(50, 2);
  const TokenBatch batch = begin_step();
  expect_rows(batch, 7);
  EXPECT_EQ(join_rows(arena_, batch, 0, 7).rows.pages, caches_.front()->rows(0).pages);
}

TEST_F(JoinedRowsTest, PagesBeforeTheNeededOnesAreLeftOut) {
  add_sequence(500, 1);
  add_sequence(500, 1);
  const TokenBatch batch = begin_step();
  EXPECT_LE(join_rows(arena_, batch, 0, 7).rows.num_rows, 2 * 32);
}

TEST_F(JoinedRowsTest, ANumberOfASegmentIsThatOfAllItsTokens) {
  add_sequence(3, 2);
  add_sequence(0, 3);
  const TokenBatch batch = begin_step();
  const std::vector<Index> numbers = {7, 9};
  const auto found = rows_of_tokens(arena_, batch, numbers);
  EXPECT_EQ(std::vector<Index>(found.begin(), found.end()), (std::vector<Index>{7, 7, 9, 9, 9}));
}

}  // namespace
}  // namespace fathom::layers

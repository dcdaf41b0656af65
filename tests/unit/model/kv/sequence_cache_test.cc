// Property tests against a naive cache that keeps everything: a row's numbers are a function of the
// tokens it stands for, so they can be told at any time.
#include "fathom/model/kv/sequence_cache.h"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::kv {
namespace {

using config::CacheStream;
using config::StreamKind;

constexpr Index kWidth = 2;

struct Shape {
  Index window;
  Index ratio;  // of the compressed layer
  bool has_overlap;
  CacheOptions options;
};

// A window layer, and a compressed one with every kind of stream.
std::vector<CacheStream> layout_of(const Shape& shape) {
  const auto stream = [](Index layer_idx, StreamKind kind, Index tokens_per_row) {
    return CacheStream{.layer_idx = layer_idx,
                       .kind = kind,
                       .width = kWidth,
                       .tokens_per_row = tokens_per_row,
                       .lookback_tokens = 0,
                       .block_tokens = 0,
                       .overlap_tokens = 0};
  };
  std::vector<CacheStream> layout = {
      stream(0, StreamKind::Window, 1),          stream(1, StreamKind::Window, 1),
      stream(1, StreamKind::CompressorInput, 1), stream(1, StreamKind::Compressed, shape.ratio),
      stream(1, StreamKind::IndexerInput, 1),    stream(1, StreamKind::IndexKey, shape.ratio)};
  for (CacheStream& each : layout) {
    if (each.kind == StreamKind::Window) {
      each.lookback_tokens = shape.window - 1;
    } else if (each.tokens_per_row == 1) {
      each.block_tokens = shape.ratio;
      each.overlap_tokens = shape.has_overlap ? shape.ratio : 0;
    }
  }
  return layout;
}

// A cache, the tokens it should hold, and from where on no replay is promised.
class Sequence {
 public:
  explicit Sequence(const Shape& shape)
      : shape_(shape),
        layout_(layout_of(shape)),
        cache_(layout_, tensor::DType::F32, shape.options) {}

  Index num_tokens() const { return to_index(tokens_.size()); }
  const SequenceCache& cache() const { return cache_; }

  void append_uncommitted(const std::vector<float>& added) {
    const std::vector<float> before = tokens_;
    tokens_.insert(tokens_.end(), added.begin(), added.end());
    for (Index idx = 0; idx < to_index(layout_.size()); ++idx) {
      const Index per_row = layout_[to_size(idx)].tokens_per_row;
      std::vector<float> rows;
      for (Index row = to_index(before.size()) / per_row; row < num_tokens() / per_row; ++row) {
        rows.push_back(value(idx, row));
        rows.push_back(-value(idx, row));
      }
      const Index count = to_index(rows.size()) / kWidth;
      cache_.append(idx, {rows.data(), tensor::DType::F32, {count, kWidth}});
    }
    uncommitted_ = before;
  }
  void append(const std::vector<float>& added) {
    append_uncommitted(added);
    cache_.commit(to_index(added.size()));
    promised_from_ = std::max(promised_from_, num_tokens() - shape_.options.raw_tokens);
  }
  void discard() {
    cache_.discard_uncommitted();
    tokens_ = uncommitted_;
  }

  // Goes back and replays; returns how far the cache had to go back behind the target.
  Index truncate(Index target) {
    const bool is_recent = target >= promised_from_;
    const Index resumed = cache_.truncate(target);
    EXPECT_LE(resumed, target);
    EXPECT_EQ(cache_.num_tokens(), resumed);
    if (is_recent) {
      EXPECT_EQ(resumed, target);
    } else {
      EXPECT_LT(target - resumed, shape_.options.checkpoint_interval);
    }
    const std::vector<float> replayed(tokens_.begin() + resumed, tokens_.begin() + target);
    tokens_.resize(to_size(resumed));
    // What lies before a checkpoint that was resumed from is gone for good.
    promised_from_ = is_recent ? promised_from_ : resumed;
    EXPECT_TRUE(is_right());
    if (!replayed.empty()) {
      append(replayed);
    }
    return target - resumed;
  }

  // Every row that the next token needs is there and has its numbers.
  ::testing::AssertionResult is_right() const {
    for (Index idx = 0; idx < to_index(layout_.size()); ++idx) {
      const CacheStream& stream = layout_[to_size(idx)];
      const auto paged = cache_.rows(idx);
      const Index num_rows = num_tokens() / stream.tokens_per_row;
      if (paged.num_rows != num_rows) {
        return ::testing::AssertionFailure()
               << "stream " << idx << " has " << paged.num_rows << " rows, expected " << num_rows;
      }
      const auto table = paged.table<float>();
      for (Index row = stream.first_row_needed(num_tokens()); row < num_rows; ++row) {
        if (table.pages[row >> table.kPageShift] == nullptr) {
          return ::testing::AssertionFailure()
                 << "stream " << idx << " lacks row " << row << " of " << num_rows;
        }
        const float expected = value(idx, row);
        if (table.row(row)[0] != expected || table.row(row)[1] != -expected) {
          return ::testing::AssertionFailure()
                 << "stream " << idx << " row " << row << " of " << num_rows << " is "
                 << table.row(row)[0] << ", expected " << expected;
        }
      }
    }
    return ::testing::AssertionSuccess();
  }

 private:
  // What the row computed from its tokens holds: of one token, or of a whole block.
  float value(Index stream_idx, Index row) const {
    const Index per_row = layout_[to_size(stream_idx)].tokens_per_row;
    float sum = static_cast<float>(stream_idx) / 8;
    for (Index i = 0; i < per_row; ++i) {
      sum += tokens_[to_size(row * per_row + i)] * static_cast<float>(i + 1);
    }
    return sum;
  }

  Shape shape_;
  std::vector<CacheStream> layout_;
  SequenceCache cache_;
  std::vector<float> tokens_;
  std::vector<float> uncommitted_;
  Index promised_from_ = 0;
};

std::vector<float> random_tokens(std::mt19937& random, Index count) {
  std::vector<float> tokens(to_size(count));
  std::generate(tokens.begin(), tokens.end(), [&] { return static_cast<float>(random() % 1000); });
  return tokens;
}

constexpr Shape kShapes[] = {
    {8, 4, true, {.raw_tokens = 20, .checkpoint_interval = 32}},
    {128, 4, true, {.raw_tokens = 100, .checkpoint_interval = 64}},
    {16, 128, false, {.raw_tokens = 50, .checkpoint_interval = 300}},
    {5, 8, false, {.raw_tokens = 0, .checkpoint_interval = 17}},
    {1, 8, false, {.raw_tokens = 0, .checkpoint_interval = 100}},
    {1, 1 + 2, true, {.raw_tokens = 7, .checkpoint_interval = 1}},
    {33, 5, true, {.raw_tokens = 3, .checkpoint_interval = 70}},
    {8, 4, true, {}},
};

class SequenceCaches : public ::testing::TestWithParam<Shape> {};

TEST_P(SequenceCaches, RandomHistoriesAgreeWithACacheThatKeepsEverything) {
  std::mt19937 random(7);
  std::vector<Sequence> sequences(3, Sequence(GetParam()));
  for (int step = 0; step < 1500; ++step) {
    Sequence& sequence = sequences[random() % sequences.size()];
    const Index length = sequence.num_tokens();
    switch (random() % 8) {
      case 0:
        sequence.truncate(static_cast<Index>(random()) % (length + 1));
        break;
      case 2:  // a little back, as a chat does
        sequence.truncate(length - std::min<Index>(length, static_cast<Index>(random() % 12)));
        break;
      case 3: {
        const Sequence fork = sequences[random() % sequences.size()];
        sequence = fork;
        break;
      }
      case 4:
        sequence.append_uncommitted(random_tokens(random, static_cast<Index>(random() % 40)));
        sequence.discard();
        break;
      default:
        sequence.append(
            random_tokens(random, 1 + static_cast<Index>(random() % (step % 3 == 0 ? 150 : 9))));
    }
    for (const Sequence& each : sequences) {
      ASSERT_TRUE(each.is_right()) << "step " << step;
    }
    if (::testing::Test::HasFailure()) {
      FAIL() << "step " << step;
    }
  }
}

TEST_P(SequenceCaches, EveryTargetOfALongSequenceIsReachedWithinThePromise) {
  std::mt19937 random(8);
  Sequence whole(GetParam());
  while (whole.num_tokens() < 600) {
    whole.append(random_tokens(random, 1 + static_cast<Index>(random() % 30)));
  }
  for (Index target = 0; target <= whole.num_tokens(); ++target) {
    Sequence back = whole;
    const Index replayed = back.truncate(target);
    if (target >= whole.num_tokens() - GetParam().options.raw_tokens) {
      ASSERT_EQ(replayed, 0) << target;
    }
    ASSERT_TRUE(back.is_right()) << target;
    ASSERT_TRUE(whole.is_right()) << target;
    if (::testing::Test::HasFailure()) {
      FAIL() << "target " << target;
    }
  }
}

TEST_P(SequenceCaches, ResumableRangesAreExactlyWhatTruncationReaches) {
  std::mt19937 random(11);
  Sequence whole(GetParam());
  while (whole.num_tokens() < 700) {
    whole.append(random_tokens(random, 1 + static_cast<Index>(random() % 60)));
    if (random() % 4 == 0) {
      whole.truncate(static_cast<Index>(random()) % (whole.num_tokens() + 1));
    }
    std::vector<bool> is_listed(to_size(whole.num_tokens() + 1), false);
    Index before = -2;
    for (const TokenRange& range : whole.cache().resumable_ranges()) {
      ASSERT_GT(range.first, before + 1);  // apart, and ascending
      ASSERT_LE(range.first, range.last);
      before = range.last;
      std::fill(is_listed.begin() + range.first, is_listed.begin() + range.last + 1, true);
    }
    for (Index target = 0; target <= whole.num_tokens(); ++target) {
      SequenceCache back = whole.cache();
      ASSERT_EQ(back.truncate(target) == target, is_listed[to_size(target)]) << target;
      ASSERT_EQ(whole.cache().is_resumable(target), is_listed[to_size(target)]) << target;
    }
  }
}

TEST_P(SequenceCaches, AThinnedForkKeepsTheEndTheCheckpointsAndWhatIsAskedFor) {
  std::mt19937 random(12);
  const Index interval = GetParam().options.checkpoint_interval;
  for (int round = 0; round < 40; ++round) {
    Sequence whole(GetParam());
    while (whole.num_tokens() < 500 && (whole.num_tokens() == 0 || random() % 8 != 0)) {
      whole.append(random_tokens(random, 1 + static_cast<Index>(random() % 100)));
    }
    const Index total = whole.num_tokens();
    const std::vector<Index> asked = {total - total / 10, total / 2, total + 1};
    SequenceCache thin = whole.cache().thinned(asked);
    EXPECT_LE(thin.num_bytes(), whole.cache().num_bytes());
    EXPECT_TRUE(whole.is_right());
    EXPECT_EQ(thin.num_tokens(), total);
    EXPECT_TRUE(thin.is_resumable(total));
    for (Index position = 0; position <= total; ++position) {
      if (position % interval == 0 || position == asked[0] || position == asked[1]) {
        ASSERT_EQ(thin.is_resumable(position), whole.cache().is_resumable(position)) << position;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryShape,
                         SequenceCaches,
                         ::testing::ValuesIn(kShapes),
                         [](const auto& item) {
                           return "window_" + std::to_string(item.param.window) + "_ratio_" +
                                  std::to_string(item.param.ratio) + "_raw_" +
                                  std::to_string(item.param.options.raw_tokens);
                         });

TEST(SequenceCache, MemoryOfRawRowsIsBoundedByRawTokensAndCheckpoints) {
  const Shape shape = {16, 4, true, {.raw_tokens = 64, .checkpoint_interval = 512}};
  Sequence sequence(shape);
  std::mt19937 random(9);
  const auto bytes_at = [&](Index length) {
    while (sequence.num_tokens() < length) {
      sequence.append(random_tokens(random, 64));
    }
    return sequence.cache().num_bytes();
  };
  const Index early = bytes_at(8192);
  const Index late = bytes_at(16384);
  // 16 checkpoints more, each at most 2 pages of a stream for a window of 16 and 1 for a block, and
  // two compressed streams of a quarter of the rows.
  constexpr Index kPage_bytes = RowStore::kRowsPerPage * kWidth * 4;
  const Index compressed_bytes = 2 * (8192 / 4) * kWidth * 4;
  EXPECT_GE(late - early, compressed_bytes);
  EXPECT_LE(late - early, compressed_bytes + 16 * kPage_bytes * (2 * 2 + 2 * 1));
}

TEST(SequenceCache, AThinnedForkHoldsLittleMoreThanItsCompressedRows) {
  const Shape shape = {16, 4, true, {.raw_tokens = 4096, .checkpoint_interval = 4096}};
  Sequence sequence(shape);
  std::mt19937 random(13);
  sequence.append(random_tokens(random, 4000));
  const SequenceCache thin = sequence.cache().thinned({});
  constexpr Index kPage_bytes = RowStore::kRowsPerPage * kWidth * 4;
  const Index compressed_bytes = ceil_div(2 * (4000 / 4) * kWidth * 4, kPage_bytes) * kPage_bytes;
  EXPECT_LE(thin.num_bytes(), compressed_bytes + 2 * kPage_bytes + (2 * 2 + 2 * 2) * kPage_bytes);
  EXPECT_GE(sequence.cache().num_bytes(), 4 * 4000 * kWidth * 4);
}

TEST(SequenceCache, ForkSharesMemoryWithoutSharingItsFuture) {
  std::mt19937 random(10);
  Sequence left({8, 4, true, {}});
  left.append(random_tokens(random, 100));
  Sequence right = left;
  right.append(random_tokens(random, 50));
  left.truncate(30);
  left.append(random_tokens(random, 7));
  EXPECT_TRUE(left.is_right());
  EXPECT_TRUE(right.is_right());
}

TEST(SequenceCache, TargetsOutsideTheSequenceAreRefused) {
  SequenceCache cache(layout_of({8, 4, true, {}}), tensor::DType::F32);
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument,
                                  "truncate: found 1 tokens, expected 0 to 0",
                                  [&] { cache.truncate(1); }));
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "found -1 tokens",
                                  [&] { cache.truncate(-1); }));
}

TEST(SequenceCache, OptionsOutOfRangeAreRefused) {
  const auto open = [](const CacheOptions& options) {
    return [options] { SequenceCache(layout_of({8, 4, true, {}}), tensor::DType::F32, options); };
  };
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "raw tokens -1",
                                  open({.raw_tokens = -1, .checkpoint_interval = 1})));
  EXPECT_TRUE(testing::fails_with(ErrorCode::InvalidArgument, "checkpoint interval 0",
                                  open({.raw_tokens = 0, .checkpoint_interval = 0})));
}

TEST(SequenceCache, CommitOfTokensThatAStreamLacksIsABug) {
  SequenceCache cache(layout_of({8, 4, true, {}}), tensor::DType::F32);
  EXPECT_TRUE(testing::fails_with(ErrorCode::Internal, "num_rows", [&] { cache.commit(1); }));
}

}  // namespace
}  // namespace fathom::kv

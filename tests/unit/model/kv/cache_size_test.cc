#include "fathom/model/kv/cache_size.h"

#include <memory>

#include <gtest/gtest.h>

namespace fathom::kv {
namespace {

using config::CacheStream;
using config::StreamKind;

// One stream of every kind of lifetime: a window, a compressor's input and its rows, keys.
std::vector<CacheStream> mixed_layout() {
  const CacheStream plain = {.layer_idx = 0,
                             .kind = StreamKind::Window,
                             .width = 3,
                             .tokens_per_row = 1,
                             .lookback_tokens = 19,
                             .block_tokens = 0,
                             .overlap_tokens = 0};
  CacheStream input = plain;
  input.kind = StreamKind::CompressorInput;
  input.lookback_tokens = 0;
  input.block_tokens = 4;
  input.overlap_tokens = 4;
  CacheStream compressed = plain;
  compressed.kind = StreamKind::Compressed;
  compressed.tokens_per_row = 4;
  CacheStream keys = plain;
  keys.kind = StreamKind::Key;
  keys.lookback_tokens = CacheStream::kAllTokens;
  return {plain, input, compressed, keys};
}

// Appends as a model would: every stream gets the rows that the new tokens complete.
void append_tokens(SequenceCache& cache, const std::vector<CacheStream>& layout, Index count) {
  std::vector<float> numbers(to_size(count * 3), 1.0F);
  for (Index idx = 0; idx < to_index(layout.size()); ++idx) {
    const Index ratio = layout[to_size(idx)].tokens_per_row;
    const Index rows = (cache.num_tokens() + count) / ratio - cache.num_tokens() / ratio;
    if (rows > 0) {
      cache.append(idx, tensor::Tensor(numbers.data(), tensor::DType::F32, {rows, 3}));
    }
  }
}

class CacheSizes : public ::testing::TestWithParam<CacheOptions> {};

TEST_P(CacheSizes, ResidentBytesAreAtLeastWhatACacheHoldsAndLittleMore) {
  const auto layout = mixed_layout();
  const CacheSize size(layout, tensor::DType::F32, GetParam());
  for (const Index step : {1, 7, 50}) {
    SequenceCache cache(layout, tensor::DType::F32, GetParam());
    while (cache.num_tokens() < 400) {
      append_tokens(cache, layout, step);
      cache.commit(step);
      ASSERT_GE(size.resident_bytes(cache.num_tokens()), cache.num_bytes()) << cache.num_tokens();
      // The promise is that of a cache filled token by token.
      if (step == 1) {
        ASSERT_LE(size.resident_bytes(cache.num_tokens()), 2 * cache.num_bytes() + 192 * 8)
            << cache.num_tokens();
      }
    }
  }
}

TEST_P(CacheSizes, GrowthIsWhatAStepAllocates) {
  const auto layout = mixed_layout();
  const CacheSize size(layout, tensor::DType::F32, GetParam());
  const auto pool = std::make_shared<PagePool>();
  SequenceCache cache(layout, tensor::DType::F32, GetParam(), pool);
  for (const Index step : {1, 15, 16, 17, 1, 64, 3, 200}) {
    const Index before = pool->used_bytes();
    append_tokens(cache, layout, step);
    ASSERT_EQ(pool->used_bytes() - before, size.growth_bytes(cache.num_tokens(), step));
    cache.commit(step);
  }
}

TEST_P(CacheSizes, AForkCopiesAtMostOnePageOfEveryStream) {
  const auto layout = mixed_layout();
  const CacheSize size(layout, tensor::DType::F32, GetParam());
  const auto pool = std::make_shared<PagePool>();
  SequenceCache cache(layout, tensor::DType::F32, GetParam(), pool);
  append_tokens(cache, layout, 37);
  cache.commit(37);
  SequenceCache fork = cache;
  const Index before = pool->used_bytes();
  append_tokens(fork, layout, 1);
  EXPECT_GT(pool->used_bytes(), before);
  EXPECT_LE(pool->used_bytes() - before, size.growth_bytes(37, 1) + size.fork_bytes());
}

INSTANTIATE_TEST_SUITE_P(Options,
                         CacheSizes,
                         ::testing::Values(CacheOptions{},
                                           CacheOptions{.raw_tokens = 0, .checkpoint_interval = 48},
                                           CacheOptions{.raw_tokens = 30,
                                                        .checkpoint_interval = 16}));

TEST(CacheSize, RowsOfACacheOfBf16TakeHalfOrTheSame) {
  const auto bytes = [](config::StreamKind kind, tensor::DType dtype) {
    std::vector<config::CacheStream> layout = mixed_layout();
    layout.resize(1);
    layout[0].kind = kind;
    layout[0].width = 32;
    const CacheSize size(layout, dtype, {});
    SequenceCache cache(layout, dtype);
    std::vector<float> numbers(to_size(16 * 32), 1);
    cache.append(0, {numbers.data(), tensor::DType::F32, {16, 32}});
    EXPECT_EQ(cache.num_bytes(), size.fork_bytes());
    return cache.num_bytes();
  };
  using config::StreamKind;
  for (const StreamKind kind : {StreamKind::Key, StreamKind::Value}) {
    EXPECT_EQ(bytes(kind, tensor::DType::F32), 16 * 32 * 4);
    EXPECT_EQ(bytes(kind, tensor::DType::BF16), 16 * 32 * 2);
  }
  for (const StreamKind kind : {StreamKind::Window, StreamKind::Compressed,
                                StreamKind::CompressorInput, StreamKind::IndexerInput}) {
    EXPECT_EQ(bytes(kind, tensor::DType::BF16), 16 * 32 * 4);
  }
  EXPECT_EQ(bytes(StreamKind::IndexKey, tensor::DType::F32), 16 * 32 * 4);
  EXPECT_EQ(bytes(StreamKind::IndexKey, tensor::DType::BF16), 16 * (2 * 32 + 4));
}

TEST(CacheSize, PlansCountTheBytesThatRowsHave) {
  using tensor::DType;
  for (const auto& [numbers, dtype] : {std::pair{config::kFastCache, DType::BF16},
                                       {config::kFp32Cache, DType::F32},
                                       {config::kDoubleCache, DType::F64}}) {
    for (config::CacheStream stream : mixed_layout()) {
      for (const Index width : {1, 6, 128}) {
        stream.width = width;
        EXPECT_EQ(numbers.row_bytes(stream),
                  tensor::row_bytes(row_dtype(stream.kind, dtype), width));
      }
    }
  }
}

}  // namespace
}  // namespace fathom::kv

#include "fathom/model/config/cache_layout.h"

#include <gtest/gtest.h>

#include "tests/unit/model/config/config_testing.h"

namespace fathom::config {
namespace {

using testing::builtin;
using testing::expect_error;

const CacheStream& stream_of(const std::vector<CacheStream>& layout,
                             Index layer_idx,
                             StreamKind kind) {
  return layout[to_size(find_stream(layout, layer_idx, kind))];
}

TEST(CacheLayout, EachKindOfLayerHasItsStreams) {
  const std::vector<CacheStream> layout = cache_layout(builtin("v4-flash"));
  EXPECT_EQ(layout.size(), 2U + 21 * 5 + 20 * 3);
  EXPECT_EQ(stream_of(layout, 2, StreamKind::Window).width, 512);
  EXPECT_EQ(stream_of(layout, 2, StreamKind::CompressorInput).width, 2 * 1024);
  EXPECT_EQ(stream_of(layout, 2, StreamKind::IndexerInput).width, 2 * 256);
  EXPECT_EQ(stream_of(layout, 2, StreamKind::IndexKey).width, 128);
  EXPECT_EQ(stream_of(layout, 3, StreamKind::CompressorInput).width, 2 * 512);
  EXPECT_EQ(stream_of(layout, 2, StreamKind::Compressed).tokens_per_row, 4);
  EXPECT_EQ(stream_of(layout, 3, StreamKind::Compressed).tokens_per_row, 128);
  expect_error([&] { find_stream(layout, 3, StreamKind::IndexKey); }, ErrorCode::Internal,
               {"layer 3"});
}

TEST(CacheLayout, MtpBlockSlidesOnly) {
  const std::vector<CacheStream> layout = mtp_cache_layout(builtin("v4-flash"));
  ASSERT_EQ(layout.size(), 1U);
  EXPECT_EQ(layout[0].kind, StreamKind::Window);
}

TEST(CacheLayout, RowsAreNeededAsFarBackAsTheNextTokenLooks) {
  const std::vector<CacheStream> layout = cache_layout(builtin("v4-flash"));
  const CacheStream& window = stream_of(layout, 0, StreamKind::Window);
  EXPECT_EQ(window.first_row_needed(0), 0);
  EXPECT_EQ(window.first_row_needed(127), 0);
  EXPECT_EQ(window.first_row_needed(128), 1);  // the token at 128 sees 1..128
  const CacheStream& csa = stream_of(layout, 2, StreamKind::CompressorInput);
  EXPECT_EQ(csa.first_row_needed(3), 0);
  EXPECT_EQ(csa.first_row_needed(7), 0);  // block 1 pools block 0 too
  EXPECT_EQ(csa.first_row_needed(8), 4);
  const CacheStream& hca = stream_of(layout, 3, StreamKind::CompressorInput);
  EXPECT_EQ(hca.first_row_needed(127), 0);
  EXPECT_EQ(hca.first_row_needed(130), 128);
  EXPECT_EQ(stream_of(layout, 2, StreamKind::Compressed).first_row_needed(100000), 0);
}

TEST(CacheLayout, GroupedAttentionKeepsKeysAndValuesOfAllTokens) {
  const ModelConfig config = parse_config_json(testing::smollm2_config(), "c").model;
  const std::vector<CacheStream> layout = cache_layout(config);
  EXPECT_EQ(layout.size(), 2U * 30);
  for (const StreamKind kind : {StreamKind::Key, StreamKind::Value}) {
    const CacheStream& rows = stream_of(layout, 29, kind);
    EXPECT_EQ(rows.width, 3 * 64);
    EXPECT_EQ(rows.first_row_needed(8192), 0);
    EXPECT_TRUE(rows.keeps_every_row());
  }
  const std::vector<CacheStream> flash = cache_layout(builtin("v4-flash"));
  EXPECT_FALSE(stream_of(flash, 2, StreamKind::Window).keeps_every_row());
  EXPECT_FALSE(stream_of(flash, 2, StreamKind::CompressorInput).keeps_every_row());
  EXPECT_TRUE(stream_of(flash, 2, StreamKind::Compressed).keeps_every_row());
}

}  // namespace
}  // namespace fathom::config

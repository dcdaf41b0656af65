#include "fathom/model/config/model_config.h"

#include <gtest/gtest.h>

namespace fathom::config {
namespace {

TEST(ModelConfig, EnumeratorsHaveNames) {
  EXPECT_EQ(to_string(Family::DeepseekV4), "deepseek_v4");
  EXPECT_EQ(to_string(AttentionKind::SlidingWindow), "sliding_window");
  EXPECT_EQ(to_string(AttentionKind::CompressedSparse), "compressed_sparse");
  EXPECT_EQ(to_string(AttentionKind::HeavilyCompressed), "heavily_compressed");
  EXPECT_EQ(to_string(AttentionKind::Grouped), "grouped");
  EXPECT_EQ(to_string(RouterKind::HashTable), "hash_table");
  EXPECT_EQ(to_string(RouterKind::TopK), "top_k");
  EXPECT_EQ(to_string(RouterKind::None), "none");
  EXPECT_EQ(to_string(Family::Llama), "llama");
}

TEST(ModelConfig, OnlyOverlappingCompressionIsTwiceAsWide) {
  EXPECT_EQ(ModelConfig::compressor_width(AttentionKind::CompressedSparse, 512), 1024);
  EXPECT_EQ(ModelConfig::compressor_width(AttentionKind::HeavilyCompressed, 512), 512);
}

}  // namespace
}  // namespace fathom::config

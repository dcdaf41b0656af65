#include "fathom/model/config/cache_layout.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::config {
namespace {

// A CSA block pools its own tokens and the block before it (specification 3.5).
Index overlap_of(const LayerConfig& layer) {
  return layer.attention == AttentionKind::CompressedSparse ? layer.compress_ratio : 0;
}

CacheStream per_token(Index layer_idx, StreamKind kind, Index width) {
  return {.layer_idx = layer_idx,
          .kind = kind,
          .width = width,
          .tokens_per_row = 1,
          .lookback_tokens = 0,
          .block_tokens = 0,
          .overlap_tokens = 0};
}

CacheStream compressor_input(Index layer_idx,
                             StreamKind kind,
                             const LayerConfig& layer,
                             Index row_width) {
  const Index width = ModelConfig::compressor_width(layer.attention, row_width);
  CacheStream stream = per_token(layer_idx, kind, 2 * width);
  stream.block_tokens = layer.compress_ratio;
  stream.overlap_tokens = overlap_of(layer);
  return stream;
}

CacheStream compressed(Index layer_idx, StreamKind kind, const LayerConfig& layer, Index width) {
  CacheStream stream = per_token(layer_idx, kind, width);
  stream.tokens_per_row = layer.compress_ratio;
  return stream;
}

// The window and, as the kind has them, compressed rows and index keys.
void add_compressed_attention(const ModelConfig& config,
                              Index layer_idx,
                              const LayerConfig& layer,
                              std::vector<CacheStream>& layout) {
  CacheStream window = per_token(layer_idx, StreamKind::Window, config.head_dim);
  window.lookback_tokens = config.window - 1;
  layout.push_back(window);
  if (layer.attention == AttentionKind::SlidingWindow) {
    return;
  }
  layout.push_back(
      compressor_input(layer_idx, StreamKind::CompressorInput, layer, config.head_dim));
  layout.push_back(compressed(layer_idx, StreamKind::Compressed, layer, config.head_dim));
  if (layer.attention == AttentionKind::CompressedSparse) {
    layout.push_back(
        compressor_input(layer_idx, StreamKind::IndexerInput, layer, config.index_head_dim));
    layout.push_back(compressed(layer_idx, StreamKind::IndexKey, layer, config.index_head_dim));
  }
}

void add_grouped_attention(const ModelConfig& config,
                           Index layer_idx,
                           std::vector<CacheStream>& layout) {
  for (const StreamKind kind : {StreamKind::Key, StreamKind::Value}) {
    CacheStream rows = per_token(layer_idx, kind, config.num_key_value_heads * config.head_dim);
    rows.lookback_tokens = CacheStream::kAllTokens;
    layout.push_back(rows);
  }
}

std::vector<CacheStream> layout_of(const ModelConfig& config,
                                   const std::vector<LayerConfig>& layers) {
  std::vector<CacheStream> layout;
  for (Index layer_idx = 0; layer_idx < to_index(layers.size()); ++layer_idx) {
    const LayerConfig& layer = layers[to_size(layer_idx)];
    if (layer.attention == AttentionKind::Grouped) {
      add_grouped_attention(config, layer_idx, layout);
    } else {
      add_compressed_attention(config, layer_idx, layer, layout);
    }
  }
  return layout;
}

}  // namespace

Index CacheStream::first_row_needed(Index num_tokens) const {
  if (block_tokens > 0) {
    const Index block_start = num_tokens / block_tokens * block_tokens;
    return std::max<Index>(0, block_start - overlap_tokens);
  }
  if (tokens_per_row > 1) {
    return 0;
  }
  return std::max<Index>(0, num_tokens - lookback_tokens);
}

std::vector<CacheStream> cache_layout(const ModelConfig& config) {
  return layout_of(config, config.layers);
}

std::vector<CacheStream> mtp_cache_layout(const ModelConfig& config) {
  return layout_of(config, config.mtp_layers);
}

Index find_stream(const std::vector<CacheStream>& layout, Index layer_idx, StreamKind kind) {
  for (Index idx = 0; idx < to_index(layout.size()); ++idx) {
    if (layout[to_size(idx)].layer_idx == layer_idx && layout[to_size(idx)].kind == kind) {
      return idx;
    }
  }
  fail(ErrorCode::Internal, "layer ", layer_idx, " has no cache stream of this kind");
}

}  // namespace fathom::config

// The streams of rows that the cache of one sequence holds, layer by layer.
//
// A stream is an append-only list of rows of numbers. Window and compressor input streams gain one
// row per token; compressed streams one row per closed block. docs/architecture.md has the bytes.
#pragma once

#include <limits>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/compute/numeric/int16_rows.h"
#include "fathom/model/config/model_config.h"

namespace fathom::config {

enum class StreamKind {
  Window,           // key and value of one token, [C]
  CompressorInput,  // value and biased gate of one token, [2 * width]
  Compressed,       // key and value of one block, [C]
  IndexerInput,     // as CompressorInput, of the indexer's own compressor
  IndexKey,         // index key of one block, [index_head_dim]
  Key,              // keys of one token, every head's, [key-value heads * C]
  Value,            // and its values
};

constexpr bool is_key_value(StreamKind kind) {
  return kind == StreamKind::Key || kind == StreamKind::Value;
}

struct CacheStream {
  // As lookback_tokens: all tokens before.
  static constexpr Index kAllTokens = std::numeric_limits<Index>::max();

  Index layer_idx;
  StreamKind kind;
  Index width;           // numbers in a row
  Index tokens_per_row;  // 1, or the compress ratio
  // Rows of tokens below first_row_needed(p) are never read again once p tokens are in the cache
  // and no earlier position is asked for. Compressed streams need every row.
  Index lookback_tokens;  // window: W - 1 rows before p; keys and values: kAllTokens
  Index block_tokens;     // compressor inputs: back to the start of p's open block ...
  Index overlap_tokens;   // ... and the block before it where blocks overlap
  Index first_row_needed(Index num_tokens) const;
  bool keeps_every_row() const { return tokens_per_row > 1 || lookback_tokens == kAllTokens; }
};

// What the numbers in the rows of a cache take.
struct CacheNumbers {
  Index key_value_bytes;  // a number of keys and values of grouped attention
  Index other_bytes;
  bool has_coded_index_keys;

  constexpr Index row_bytes(StreamKind kind, Index width) const {
    if (kind == StreamKind::IndexKey && has_coded_index_keys) {
      return numeric::int16_row_bytes(width);
    }
    return width * (is_key_value(kind) ? key_value_bytes : other_bytes);
  }
  constexpr Index row_bytes(const CacheStream& stream) const {
    return row_bytes(stream.kind, stream.width);
  }
};
inline constexpr CacheNumbers kFastCache = {2, 4, true};  // of the numerics `fast`
inline constexpr CacheNumbers kFp32Cache = {4, 4, false};
inline constexpr CacheNumbers kDoubleCache = {8, 8, false};

// Streams of the decoder layers (in layer order), or of MTP block `mtp_idx` alone.
std::vector<CacheStream> cache_layout(const ModelConfig& config);
std::vector<CacheStream> mtp_cache_layout(const ModelConfig& config);

// Index of a layer's stream of a kind in the layout; the layer must have one.
Index find_stream(const std::vector<CacheStream>& layout, Index layer_idx, StreamKind kind);

}  // namespace fathom::config

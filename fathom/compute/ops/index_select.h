// The lightning indexer: scores every visible block and keeps the best (specification 3.6).
#pragma once

#include <cstdint>
#include <span>

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// score[t, j] = sum_h weight[t, h] * relu(query[t, h] . key[j]);  the top_k blocks of
// [0, num_visible[t]) with the highest scores; the lower block wins a tie. All of them when no more
// than top_k are visible.
// Official rounding: the dot products, the weighted terms and their fp32 sum to BF16.
// Keys of codes (`fast`): queries are rounded like them, every head to a row of its own, and their
// products summed as integers, S. Then score[t, j] = x_j sum_h (weight[t, h] q_h)
// relu(S), with the scales x_j of the key and q_h of the query. No rounding besides.
//
//   query        [T, H, C]
//   weight       [T, H]
//   keys         rows [C], of Real or of std::int16_t (numeric/int16_rows.h)
//   num_visible  [T]
//   first_keys   [T]: where in the table the keys of the token's sequence begin; empty: all at 0
//   scratch      [threads, scratch_columns(max num_visible)]
//   out          [T, top_k] ascending, padded with -1
template <typename Real, typename Key = Real>
struct IndexSelectArgs {
  static constexpr Index kTokensPerTile = 4;     // that read keys together
  static constexpr Index kBlocksPerPiece = 128;  // of keys read together

  tensor::MatrixView<const Real> query;  // [T, H * C]
  tensor::MatrixView<const Real> weight;
  tensor::RowTable<Key> keys;
  std::span<const Index> num_visible;
  std::span<const Index> first_keys;
  Rounding rounding;
  tensor::MatrixView<Real> scratch;
  tensor::MatrixView<std::int32_t> out;

  Index num_heads() const { return weight.columns; }
  Index width() const { return query.columns / weight.columns; }
  const Key* key(Index token, Index block) const {
    return keys.row((first_keys.empty() ? 0 : first_keys[to_size(token)]) + block);
  }
  // Of a token's scratch: a set of 16 heads, queries with eight numbers more.
  static Index set_numbers(Index width) { return 16 * (width + 8); }
  // For a tile of tokens: all of their heads' sets, and scores.
  static Index scratch_columns(Index num_heads, Index width, Index most_visible) {
    return kTokensPerTile *
           (ceil_div(num_heads, 16) * set_numbers(width) + ceil_div(most_visible, 16) * 16);
  }
};

template <typename Real>
using Int16IndexSelectArgs = IndexSelectArgs<Real, std::int16_t>;

// What blocks are scored by; shapes as above.
struct IndexerScores {
  tensor::Tensor query;
  tensor::Tensor weight;
  tensor::PagedRows keys;
  std::span<const Index> first_keys;
};

// `query` and `weight` are not looked at, and may be empty, when no token sees more than top_k
// blocks.
tensor::Tensor index_select(Context& context,
                            const IndexerScores& scores,
                            std::span<const Index> num_visible,
                            Index top_k);

}  // namespace fathom::ops

// Attention over a window and chosen compressed rows, with a learned sink per head.
#pragma once

#include <algorithm>
#include <span>

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// What a token may see. Rows are key and value at once (multi-query, shared).
struct VisibleRows {
  Index first_window_row;
  Index num_window_rows;
  Index num_compressed_rows;       // the first so many, or so many of the token's selection
  Index first_compressed_row = 0;  // of the token's sequence; blocks are counted from here
};

// For every token and head: z[i] = scale * (q . row[i]), M = max z,
// out = sum_i exp(z[i] - M) row[i] / (sum_i exp(z[i] - M) + exp(sink - M)).
// Window rows come first, in order of position, then compressed rows, in order of block: the order
// of summation, whatever the history of the cache. Source: specification 3.3.4.
// Official rounding: exp(z - M) to BF16 where it multiplies a row (not in the denominator); out.
//
//   query      [T, H * C]; rope already applied to the last R of each C
//   window     rows of tokens, [C]
//   compressed rows of blocks, [C]
//              (of all sequences; a token's own are where its VisibleRows say)
//   selected   [T, top_k] block ids ascending, or empty: blocks 0, 1, 2, ...
//   sink       [H]
//   scratch    contiguous: scratch_rows(threads, H) rows of scratch_columns(C, most), most the
//              largest number of rows a token sees
//   out        [T, H * C], still rotated: the caller undoes rope at the query's position
template <typename Real>
struct SinkAttentionArgs {
  static constexpr Index kHeadsPerTile = 32;
  // A row for each thread, or one token's heads, all threads at it, whichever is more.
  static Index scratch_rows(Index num_threads, Index num_heads) {
    return std::max(num_threads, ceil_div(num_heads, kHeadsPerTile));
  }
  // For each head of a tile: its query, a score for each row, rounded up to a multiple of 16, and a
  // denominator.
  static Index scratch_columns(Index width, Index most_rows) {
    return kHeadsPerTile * (width + ceil_div(most_rows, 16) * 16 + 1);
  }

  tensor::MatrixView<const Real> query;
  tensor::RowTable<Real> window;
  tensor::RowTable<Real> compressed;
  tensor::MatrixView<const std::int32_t> selected;
  std::span<const VisibleRows> visible;
  std::span<const float> sink;
  double scale;
  Rounding rounding;
  tensor::MatrixView<Real> scratch;
  tensor::MatrixView<Real> out;

  // The idx-th row a token sees: its window first, then its compressed rows.
  const Real* visible_row(Index token, Index idx) const {
    const VisibleRows& seen = visible[to_size(token)];
    if (idx < seen.num_window_rows) {
      return window.row(seen.first_window_row + idx);
    }
    const Index compressed_idx = idx - seen.num_window_rows;
    return compressed.row(seen.first_compressed_row + (selected.data == nullptr
                                                           ? compressed_idx
                                                           : selected.row(token)[compressed_idx]));
  }
};
// With p[i] the weights including the sink's in their sum, and d[i] = d_out . row[i]:
// D = sum_i p[i] d[i], dz[i] = p[i] (d[i] - D), d_query += scale sum_i dz[i] row[i],
// d_row[i] += scale dz[i] q + p[i] d_out, d_sink -= p[sink] D.
//
//   d_window, d_compressed  gradients of the rows   d_sink  [H], may be null
//   most_rows               the largest number of rows a token sees, at least 1
//   scratch                 [1, scratch_columns(H, most_rows, T)]
template <typename Real>
struct SinkAttentionBackwardArgs {
  // For each head of a token two numbers per row and one more, rounded up to multiples of 16.
  static Index token_numbers(Index num_heads, Index most_rows) {
    return num_heads * 2 * ceil_div(most_rows, 16) * 16 + ceil_div(num_heads, 16) * 16;
  }
  // Tokens whose numbers are kept at a time: what stays in a second-level cache.
  static Index chunk_tokens(Index num_heads, Index most_rows, Index num_tokens) {
    constexpr Index kNumbers = Index{1} << 18;
    constexpr Index kLeast = 32;
    const Index fitting = std::max(kLeast, kNumbers / token_numbers(num_heads, most_rows));
    return std::min(fitting, std::max<Index>(num_tokens, 1));
  }
  static Index scratch_columns(Index num_heads, Index most_rows, Index num_tokens) {
    return chunk_tokens(num_heads, most_rows, num_tokens) * token_numbers(num_heads, most_rows);
  }

  SinkAttentionArgs<Real> forward;  // its scratch, rounding and out are not looked at
  Index most_rows;
  tensor::MatrixView<const Real> d_out;
  tensor::MatrixView<Real> scratch;
  tensor::MatrixView<Real> d_query;
  tensor::WritableRowTable<Real> d_window;
  tensor::WritableRowTable<Real> d_compressed;
  Real* d_sink;

  // The gradient of forward.visible_row(token, idx).
  Real* d_visible_row(Index token, Index idx) const {
    const VisibleRows& seen = forward.visible[to_size(token)];
    if (idx < seen.num_window_rows) {
      return d_window.row(seen.first_window_row + idx);
    }
    const Index compressed_idx = idx - seen.num_window_rows;
    const bool is_chosen = forward.selected.data != nullptr;
    return d_compressed.row(
        seen.first_compressed_row +
        (is_chosen ? forward.selected.row(token)[compressed_idx] : compressed_idx));
  }
};
struct SinkAttention {
  tensor::Tensor query;
  tensor::PagedRows window;
  tensor::PagedRows compressed;
  tensor::Tensor selected;  // empty: all visible compressed rows
  std::span<const VisibleRows> visible;
  std::span<const float> sink;
  double scale;
  tensor::Tensor out;
};
void sink_attention(Context& context, const SinkAttention& attention);

}  // namespace fathom::ops

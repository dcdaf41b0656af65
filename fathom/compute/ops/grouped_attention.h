// Causal attention over keys and values of all tokens before, shared by groups of query heads.
#pragma once

#include <algorithm>
#include <span>

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// For every token and head, with the keys and values of head h' = head / (H / H'):
// z[i] = scale * (q . key[i]), M = max z, out = sum_i exp(z[i] - M) value[i] / sum_i exp(z[i] - M).
// Rows are summed in order of position, in blocks of kRowsPerBlock whose sums are added in order.
// There is no rounding point in any numerics.
//
//   query        [T, H * C], rotated
//   keys         rows of tokens, [H' * C], rotated; of Real or BF16
//   values       rows of tokens, [H' * C]; of the same
//   num_visible  [T]: the token sees the first so many rows, at least one; ascending
//   out          [T, H * C]
template <typename Real>
struct GroupedAttentionArgs {
  static constexpr Index kQueriesPerTile = 16;
  static constexpr Index kRowsPerBlock = 256;

  tensor::MatrixView<const Real> query;
  tensor::PagedRows keys;
  tensor::PagedRows values;
  std::span<const Index> num_visible;
  Index head_dim;
  double scale;
  tensor::MatrixView<Real> out;

  Index num_key_value_heads() const { return keys.width / head_dim; }
  Index heads_per_group() const { return query.columns / keys.width; }
  // Fewer than a tile of a head of keys and values, as where one token is decoded: all threads
  // share the sequence's rows.
  bool has_few_queries() const { return query.rows * heads_per_group() < kQueriesPerTile; }
  // Numbers that a thread needs for its part.
  Index scratch_columns() const {
    const Index num_rows = num_visible.back();
    const Index num_queries =
        has_few_queries() ? query.rows * (query.columns / head_dim) : kQueriesPerTile;
    // For each query a score for each row, rounded up to a multiple of 16, a denominator, itself
    // and the sum of each block.
    return num_queries *
           (ceil_div(num_rows, 16) * 16 + 1 + (1 + ceil_div(num_rows, kRowsPerBlock)) * head_dim);
  }
};
// The sequences of a step: each as above, all with the same heads.
//
//   scratch  [threads, the most scratch_columns() of a sequence]
template <typename Real>
struct GroupedAttentionsArgs {
  std::span<const GroupedAttentionArgs<Real>> sequences;
  tensor::MatrixView<Real> scratch;
};
// With p[i] the weights and d[i] = d_out . value[i]: dz[i] = p[i] (d[i] - sum_j p[j] d[j]),
// d_query += scale sum_i dz[i] key[i], d_key[i] += scale dz[i] q, d_value[i] += p[i] d_out.
//
//   most_rows  the largest number of rows a token sees
//   scratch    [1, scratch_columns(H, most_rows, T)]
template <typename Real>
struct GroupedAttentionBackwardArgs {
  // For each head of a token two numbers per row, rounded up to a multiple of 16.
  static Index token_numbers(Index num_heads, Index most_rows) {
    return num_heads * 2 * ceil_div(most_rows, 16) * 16;
  }
  // Tokens whose numbers are kept at a time.
  static Index chunk_tokens(Index num_heads, Index most_rows, Index num_tokens) {
    constexpr Index kNumbers = Index{1} << 18;
    constexpr Index kLeast = 32;
    const Index fitting = std::max(kLeast, kNumbers / token_numbers(num_heads, most_rows));
    return std::min(fitting, std::max<Index>(num_tokens, 1));
  }
  static Index scratch_columns(Index num_heads, Index most_rows, Index num_tokens) {
    return chunk_tokens(num_heads, most_rows, num_tokens) * token_numbers(num_heads, most_rows);
  }

  GroupedAttentionArgs<Real> forward;  // its out is not looked at
  Index most_rows;
  tensor::MatrixView<const Real> d_out;
  tensor::MatrixView<Real> scratch;
  tensor::MatrixView<Real> d_query;
  tensor::WritableRowTable<Real> d_keys;
  tensor::WritableRowTable<Real> d_values;
};
struct GroupedAttention {
  tensor::Tensor query;
  tensor::PagedRows keys;
  tensor::PagedRows values;
  std::span<const Index> num_visible;
  Index head_dim;
  double scale;
  tensor::Tensor out;
};
// Of every sequence of a step, at least one, in one loop: a single one has few heads to share out.
void grouped_attention(Context& context, std::span<const GroupedAttention> sequences);

}  // namespace fathom::ops

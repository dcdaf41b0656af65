// What the lightning indexer is taught by: where main attention looks (specification 6.3, the loss
// of DeepSeek-V3.2).
#pragma once

#include <span>

#include "fathom/compute/ops/index_select.h"
#include "fathom/compute/ops/sink_attention.h"
#include "fathom/compute/ops/training_terms.h"

namespace fathom::ops {

// For every token, with `attention` seeing the compressed blocks S that are compared:
//   a[h, j] = what head h of attention gives to block j, softmax over window, blocks and sink
//   p[j] = sum_h a[h, j] / sum_h sum_{i in S} a[h, i]
//   I[j] = sum_h weight[t, h] relu(query[t, h] . key[j]),  q = softmax over S of I
//   losses[t] = sum_j p[j] log(p[j] / q[j]); 0 for a token that sees fewer than two blocks, or
//               whose attention gives none of them anything
// p is taken as it is; dI[j] = d_losses[t] (q[j] - p[j]). No rounding, in either numerics.
//
//   attention   its scratch, rounding and out are not looked at
//   query       [T, Hi * Ci], of the indexer   weight  [T, Hi]   keys  rows [Ci]
//   first_keys  [T]: where in the table the keys of the token's sequence begin
//   losses      [T]
//   d_losses    [T]; and d_query, d_weight, d_keys, added to: or all none
//   scratch     [threads, scratch_columns(most)], most the largest number of rows a token sees
//   d_scores    [T, most blocks], scratch as well; none without gradients
template <typename Real>
struct IndexerLossArgs {
  static Index scratch_columns(Index most_rows) { return 2 * most_rows; }

  SinkAttentionArgs<Real> attention;
  tensor::MatrixView<const Real> query;
  tensor::MatrixView<const Real> weight;
  tensor::RowTable<Real> keys;
  std::span<const Index> first_keys;
  Real* losses;
  const Real* d_losses;
  tensor::MatrixView<Real> d_query;
  tensor::MatrixView<Real> d_weight;
  tensor::WritableRowTable<Real> d_keys;
  tensor::MatrixView<Real> scratch;
  tensor::MatrixView<Real> d_scores;

  // The row, in the keys' table, of the idx-th block that a token compares.
  Index key_row(Index token, Index idx) const {
    const bool is_chosen = attention.selected.data != nullptr;
    return first_keys[to_size(token)] + (is_chosen ? attention.selected.row(token)[idx] : idx);
  }
};

// Reports the indexer's loss to the context's terms as layer `layer_idx`: of every piece the mean
// over its rows. `attention` is what attention computed, but for the blocks that are compared; its
// `out` is what the way back is hooked on, so it has to be on the way to the loss. Gradients reach
// `scores` alone. Does nothing in a context whose terms have no such loss.
void teach_indexer(Context& context,
                   const SinkAttention& attention,
                   const IndexerScores& scores,
                   Index layer_idx);

// Whether teach_indexer() has something to do now, so that scores have to be computed.
bool is_indexer_taught(const Context& context);

}  // namespace fathom::ops

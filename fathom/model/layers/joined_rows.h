// The rows of all sequences of a step in one table, so that one loop computes all of them.
#pragma once

#include <limits>

#include "fathom/model/layers/causal_lm.h"

namespace fathom::layers {

inline constexpr Index kEveryRow = std::numeric_limits<Index>::max();

// Row i of segment s is rows.row(first_rows[s] + i).
struct JoinedRows {
  tensor::PagedRows rows;
  std::span<const Index> first_rows;  // [segments]
};

// Of a stream with a row per token, rows from `num_before` before each segment's position on; of
// any stream, kEveryRow. Pages stay where they are; the table lies in the arena and holds until
// the next append to the stream.
JoinedRows join_rows(tensor::Arena& arena,
                     const TokenBatch& batch,
                     Index stream_idx,
                     Index num_before = kEveryRow);

// A number of each segment for each of its tokens, [T].
std::span<const Index> rows_of_tokens(tensor::Arena& arena,
                                      const TokenBatch& batch,
                                      std::span<const Index> of_segments);

}  // namespace fathom::layers

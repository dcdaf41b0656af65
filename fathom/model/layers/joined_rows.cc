#include "fathom/model/layers/joined_rows.h"

#include <algorithm>

namespace fathom::layers {
namespace {

constexpr Index kRowsPerPage = tensor::RowTable<float>::kRowsPerPage;

// The pages of one segment that belong into the table.
struct PageRange {
  tensor::PagedRows rows;
  Index first;
  Index count;
};

PageRange pages_of(const Segment& segment, Index stream_idx, Index num_before) {
  const tensor::PagedRows rows = segment.kv->rows(stream_idx);
  const Index first = std::max<Index>(0, segment.position - num_before) / kRowsPerPage;
  return {rows, first, std::max<Index>(0, ceil_div(rows.num_rows, kRowsPerPage) - first)};
}

}  // namespace

JoinedRows join_rows(tensor::Arena& arena,
                     const TokenBatch& batch,
                     Index stream_idx,
                     Index num_before) {
  const auto first_rows = arena.allocate_array<Index>(to_index(batch.segments.size()));
  if (batch.segments.size() == 1) {
    first_rows.front() = 0;
    return {batch.segments.front().kv->rows(stream_idx), first_rows};
  }
  Index num_pages = 0;
  for (const Segment& segment : batch.segments) {
    num_pages += pages_of(segment, stream_idx, num_before).count;
  }
  const auto pages = arena.allocate_array<const void*>(num_pages);
  tensor::PagedRows joined = batch.segments.front().kv->rows(stream_idx);
  num_pages = 0;
  for (std::size_t idx = 0; idx < batch.segments.size(); ++idx) {
    const PageRange range = pages_of(batch.segments[idx], stream_idx, num_before);
    std::copy_n(range.rows.pages + range.first, range.count, pages.begin() + num_pages);
    first_rows[idx] = (num_pages - range.first) * kRowsPerPage;
    num_pages += range.count;
  }
  joined.pages = pages.data();
  joined.num_rows = num_pages * kRowsPerPage;
  return {joined, first_rows};
}

std::span<const Index> rows_of_tokens(tensor::Arena& arena,
                                      const TokenBatch& batch,
                                      std::span<const Index> of_segments) {
  const auto of_tokens = arena.allocate_array<Index>(to_index(batch.tokens.size()));
  for (std::size_t idx = 0; idx < batch.segments.size(); ++idx) {
    const Segment& segment = batch.segments[idx];
    std::fill_n(of_tokens.begin() + segment.first_row, segment.num_tokens, of_segments[idx]);
  }
  return of_tokens;
}

}  // namespace fathom::layers

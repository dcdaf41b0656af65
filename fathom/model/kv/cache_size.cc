#include "fathom/model/kv/cache_size.h"

#include <algorithm>

namespace fathom::kv {
namespace {

Index pages_of(Index num_rows) {
  return ceil_div(num_rows, RowStore::kRowsPerPage);
}

}  // namespace

CacheSize::CacheSize(std::vector<config::CacheStream> layout,
                     tensor::DType dtype,
                     const CacheOptions& options)
    : layout_(std::move(layout)), dtype_(dtype), options_(options) {
  for (const config::CacheStream& stream : layout_) {
    fork_bytes_ += page_bytes(stream);
  }
}

Index CacheSize::page_bytes(const config::CacheStream& stream) const {
  const Index bytes =
      RowStore::kRowsPerPage * tensor::row_bytes(row_dtype(stream.kind, dtype_), stream.width);
  return ceil_div(bytes, PagePool::kAlignment_bytes) * PagePool::kAlignment_bytes;
}

Index CacheSize::resident_pages(const config::CacheStream& stream, Index num_tokens) const {
  const Index all = pages_of(num_tokens / stream.tokens_per_row);
  if (stream.keeps_every_row()) {
    return all;
  }
  const Index oldest_target = std::max<Index>(0, num_tokens - options_.raw_tokens);
  Index pages = all - stream.first_row_needed(oldest_target) / RowStore::kRowsPerPage;
  for (Index checkpoint = options_.checkpoint_interval; checkpoint <= num_tokens && pages < all;
       checkpoint += options_.checkpoint_interval) {
    pages += pages_of(checkpoint) - stream.first_row_needed(checkpoint) / RowStore::kRowsPerPage;
  }
  return std::min(pages, all);
}

Index CacheSize::resident_bytes(Index num_tokens) const {
  Index total = 0;
  for (const config::CacheStream& stream : layout_) {
    total += resident_pages(stream, num_tokens) * page_bytes(stream);
  }
  return total;
}

Index CacheSize::growth_bytes(Index num_tokens, Index num_new) const {
  Index total = 0;
  for (const config::CacheStream& stream : layout_) {
    const Index before = pages_of(num_tokens / stream.tokens_per_row);
    const Index after = pages_of((num_tokens + num_new) / stream.tokens_per_row);
    total += (after - before) * page_bytes(stream);
  }
  return total;
}

}  // namespace fathom::kv

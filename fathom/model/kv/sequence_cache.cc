#include "fathom/model/kv/sequence_cache.h"

#include <algorithm>

#include "fathom/base/core/error.h"

namespace fathom::kv {

SequenceCache::SequenceCache(std::vector<config::CacheStream> layout,
                             tensor::DType dtype,
                             const CacheOptions& options,
                             std::shared_ptr<PagePool> pool)
    : layout_(std::move(layout)), first_undropped_page_(layout_.size(), 0), options_(options) {
  if (options.raw_tokens < 0 || options.checkpoint_interval < 1) {
    fail(ErrorCode::InvalidArgument, "cache: raw tokens ", options.raw_tokens,
         " and checkpoint interval ", options.checkpoint_interval, ", expected at least 0 and 1");
  }
  if (pool == nullptr) {
    pool = std::make_shared<PagePool>();
  }
  stores_.reserve(layout_.size());
  for (const config::CacheStream& stream : layout_) {
    stores_.emplace_back(stream.width, dtype, pool);
  }
}

void SequenceCache::append(Index stream_idx, const tensor::Tensor& rows) {
  stores_[to_size(stream_idx)].append(rows);
}

tensor::PagedRows SequenceCache::rows(Index stream_idx) const {
  return stores_[to_size(stream_idx)].view();
}

void SequenceCache::commit(Index num_new_tokens) {
  num_tokens_ += num_new_tokens;
  for (std::size_t idx = 0; idx < stores_.size(); ++idx) {
    FATHOM_CHECK(stores_[idx].num_rows() == num_tokens_ / layout_[idx].tokens_per_row);
  }
  drop_old_rows();
}

void SequenceCache::discard_uncommitted() {
  for (std::size_t idx = 0; idx < stores_.size(); ++idx) {
    stores_[idx].truncate(
        std::min(stores_[idx].num_rows(), num_tokens_ / layout_[idx].tokens_per_row));
  }
}

Index SequenceCache::truncate(Index num_tokens) {
  if (num_tokens < 0 || num_tokens > num_tokens_) {
    fail(ErrorCode::InvalidArgument, "truncate: found ", num_tokens, " tokens, expected 0 to ",
         num_tokens_, " (what the cache holds)");
  }
  Index resumed = num_tokens;
  if (!is_resumable(resumed)) {
    resumed = num_tokens / options_.checkpoint_interval * options_.checkpoint_interval;
    while (!is_resumable(resumed)) {
      resumed -= options_.checkpoint_interval;
    }
  }
  num_tokens_ = resumed;
  discard_uncommitted();
  for (std::size_t idx = 0; idx < stores_.size(); ++idx) {
    const Index num_pages = ceil_div(stores_[idx].num_rows(), RowStore::kRowsPerPage);
    first_undropped_page_[idx] = std::min(first_undropped_page_[idx], num_pages);
  }
  return resumed;
}

bool SequenceCache::is_resumable(Index num_tokens) const {
  for (std::size_t idx = 0; idx < stores_.size(); ++idx) {
    const config::CacheStream& stream = layout_[idx];
    const Index end = num_tokens / stream.tokens_per_row;
    Index first = stream.tokens_per_row > 1 ? 0 : stream.first_row_needed(num_tokens);
    if (end % RowStore::kRowsPerPage != 0) {
      // The next rows go behind the last one, so its page must be there even if nothing reads it.
      first = std::min(first, end - 1);
    }
    if (!stores_[idx].has_rows(first, end)) {
      return false;
    }
  }
  return true;
}

void SequenceCache::drop_old_rows() {
  const Index oldest_target = std::max<Index>(0, num_tokens_ - options_.raw_tokens);
  for (std::size_t idx = 0; idx < stores_.size(); ++idx) {
    const config::CacheStream& stream = layout_[idx];
    if (stream.tokens_per_row > 1) {
      continue;
    }
    const Index first_kept_page = stream.first_row_needed(oldest_target) / RowStore::kRowsPerPage;
    for (Index page = first_undropped_page_[idx]; page < first_kept_page; ++page) {
      // The checkpoint that needs rows of this page, if any, is one of those that end after the
      // page begins: pages are shorter than checkpoint intervals or many checkpoints share one.
      const Index first_row = page * RowStore::kRowsPerPage;
      const Index end_row = first_row + RowStore::kRowsPerPage;
      bool is_needed = false;
      for (Index checkpoint =
               (first_row / options_.checkpoint_interval + 1) * options_.checkpoint_interval;
           !is_needed && checkpoint <= num_tokens_ && stream.first_row_needed(checkpoint) < end_row;
           checkpoint += options_.checkpoint_interval) {
        is_needed = true;
      }
      if (!is_needed) {
        stores_[idx].drop_page(page);
      }
    }
    first_undropped_page_[idx] = std::max(first_undropped_page_[idx], first_kept_page);
  }
}

Index SequenceCache::num_bytes() const {
  Index total = 0;
  for (const RowStore& store : stores_) {
    total += store.num_bytes();
  }
  return total;
}

}  // namespace fathom::kv

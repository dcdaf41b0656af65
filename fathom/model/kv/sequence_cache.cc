#include "fathom/model/kv/sequence_cache.h"

#include <algorithm>
#include <iterator>

#include "fathom/base/core/error.h"

namespace fathom::kv {
namespace {

using config::CacheStream;

// The first row of a stream that a sequence of `num_tokens` needs to go on.
Index first_row_to_resume(const CacheStream& stream, Index num_tokens) {
  const Index end = num_tokens / stream.tokens_per_row;
  const Index first = stream.first_row_needed(num_tokens);
  // The next rows go behind the last one, so its page must be there even if nothing reads it.
  return end % RowStore::kRowsPerPage == 0 ? first : std::min(first, end - 1);
}

// Whether a page of raw rows holds any that a sequence of `num_tokens` needs to go on.
bool is_page_to_resume(const CacheStream& stream, Index page, Index num_tokens) {
  const Index first_row = page * RowStore::kRowsPerPage;
  return num_tokens > first_row &&
         first_row_to_resume(stream, num_tokens) < first_row + RowStore::kRowsPerPage;
}

bool has_same_needs(const CacheStream& a, const CacheStream& b) {
  return a.tokens_per_row == b.tokens_per_row && a.lookback_tokens == b.lookback_tokens &&
         a.block_tokens == b.block_tokens && a.overlap_tokens == b.overlap_tokens;
}

// Streams that need the same rows, and for each page where the pages that all of them have begin
// that lead to it without a gap; behind the page where it is missing.
struct PageRuns {
  CacheStream stream;
  std::vector<Index> first_page;

  bool is_resumable(Index num_tokens) const {
    const Index end = num_tokens / stream.tokens_per_row;
    const Index first = first_row_to_resume(stream, num_tokens);
    return first >= end || first_page[to_size((end - 1) / RowStore::kRowsPerPage)] <=
                               first / RowStore::kRowsPerPage;
  }
};

// What resumable positions depend on, once for all streams that need the same rows.
std::vector<PageRuns> page_runs(const std::vector<CacheStream>& layout,
                                const std::vector<RowStore>& stores) {
  std::vector<PageRuns> needs;
  for (std::size_t idx = 0; idx < stores.size(); ++idx) {
    auto same = std::find_if(needs.begin(), needs.end(), [&](const PageRuns& runs) {
      return has_same_needs(runs.stream, layout[idx]);
    });
    if (same == needs.end()) {
      needs.push_back({layout[idx], std::vector<Index>(to_size(stores[idx].num_pages()), 0)});
      same = std::prev(needs.end());
    }
    Index first = 0;
    for (Index page = 0; page < stores[idx].num_pages(); ++page) {
      Index& merged = same->first_page[to_size(page)];
      first = stores[idx].has_page(page) ? first : page + 1;
      merged = std::max(merged, first);
    }
  }
  return needs;
}

}  // namespace

SequenceCache::SequenceCache(std::vector<config::CacheStream> layout,
                             tensor::DType dtype,
                             const CacheOptions& options,
                             std::shared_ptr<PagePool> pool)
    : dtype_(dtype),
      layout_(std::move(layout)),
      first_undropped_page_(layout_.size(), 0),
      options_(options) {
  if (options.raw_tokens < 0 || options.checkpoint_interval < 1) {
    fail(ErrorCode::InvalidArgument, "cache: raw tokens ", options.raw_tokens,
         " and checkpoint interval ", options.checkpoint_interval, ", expected at least 0 and 1");
  }
  if (pool == nullptr) {
    pool = std::make_shared<PagePool>();
  }
  stores_.reserve(layout_.size());
  for (const CacheStream& stream : layout_) {
    stores_.emplace_back(stream.width, row_dtype(stream.kind, dtype), pool);
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

Index SequenceCache::resume_point(Index num_tokens) const {
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
  return resumed;
}

Index SequenceCache::truncate(Index num_tokens) {
  const Index resumed = resume_point(num_tokens);
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
    const Index first = first_row_to_resume(layout_[idx], num_tokens);
    if (!stores_[idx].has_rows(first, num_tokens / layout_[idx].tokens_per_row)) {
      return false;
    }
  }
  return true;
}

std::vector<TokenRange> SequenceCache::resumable_ranges() const {
  const std::vector<PageRuns> needs = page_runs(layout_, stores_);
  std::vector<TokenRange> ranges;
  for (Index position = 0; position <= num_tokens_; ++position) {
    const bool is_resumable = std::all_of(needs.begin(), needs.end(), [&](const PageRuns& runs) {
      return runs.is_resumable(position);
    });
    if (is_resumable && !ranges.empty() && ranges.back().last == position - 1) {
      ranges.back().last = position;
    } else if (is_resumable) {
      ranges.push_back({position, position});
    }
  }
  return ranges;
}

SequenceCache SequenceCache::thinned(std::span<const Index> positions) const {
  SequenceCache fork = *this;
  for (std::size_t idx = 0; idx < stores_.size(); ++idx) {
    const CacheStream& stream = layout_[idx];
    if (stream.keeps_every_row()) {
      continue;
    }
    for (Index page = 0; page < stores_[idx].num_pages(); ++page) {
      const auto needs_page = [&](Index position) {
        return position <= num_tokens_ && is_page_to_resume(stream, page, position);
      };
      if (!needs_page(num_tokens_) && !is_checkpoint_page(stream, page) &&
          std::none_of(positions.begin(), positions.end(), needs_page)) {
        fork.stores_[idx].drop_page(page);
      }
    }
  }
  return fork;
}

std::span<std::byte> SequenceCache::append_page(Index stream_idx, Index num_rows, bool is_present) {
  return stores_[to_size(stream_idx)].append_page(num_rows, is_present);
}

// The checkpoint that needs rows of a page, if any, is one of those that end after the page begins:
// pages are shorter than checkpoint intervals or many checkpoints share one.
bool SequenceCache::is_checkpoint_page(const CacheStream& stream, Index page) const {
  const Index interval = options_.checkpoint_interval;
  const Index first_row = page * RowStore::kRowsPerPage;
  const Index first_checkpoint = (first_row / interval + 1) * interval;
  return first_checkpoint <= num_tokens_ && is_page_to_resume(stream, page, first_checkpoint);
}

void SequenceCache::drop_old_rows() {
  const Index oldest_target = std::max<Index>(0, num_tokens_ - options_.raw_tokens);
  for (std::size_t idx = 0; idx < stores_.size(); ++idx) {
    const CacheStream& stream = layout_[idx];
    if (stream.tokens_per_row > 1) {
      continue;
    }
    const Index first_kept_page = stream.first_row_needed(oldest_target) / RowStore::kRowsPerPage;
    for (Index page = first_undropped_page_[idx]; page < first_kept_page; ++page) {
      if (!is_checkpoint_page(stream, page)) {
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

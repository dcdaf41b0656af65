// The hybrid cache of one sequence: every stream of a layout, with going back to any earlier token.
//
// Compressed rows are kept for the whole sequence. Raw rows (window rows and compressor inputs) are
// kept for the last tokens, and before that only where a state checkpoint needs them, so that an
// older target is reached by replaying the tokens since the checkpoint before it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "fathom/model/config/cache_layout.h"
#include "fathom/model/kv/kv_store.h"
#include "fathom/model/kv/row_store.h"

namespace fathom::kv {

// What the rows of a stream are kept in. In a cache of BF16 that is keys and values; index keys,
// which only choose, are 16-bit codes, and what later rows are computed from stays fp32.
constexpr tensor::DType row_dtype(config::StreamKind kind, tensor::DType cache_dtype) {
  if (cache_dtype != tensor::DType::BF16 || config::is_key_value(kind)) {
    return cache_dtype;
  }
  return kind == config::StreamKind::IndexKey ? tensor::DType::Int16Row : tensor::DType::F32;
}

struct CacheOptions {
  Index raw_tokens = 8192;           // going back so far needs no replay
  Index checkpoint_interval = 4096;  // an older target replays fewer tokens than this
};

// Numbers of tokens from `first` to `last`, both included.
struct TokenRange {
  Index first;
  Index last;
  bool operator==(const TokenRange&) const = default;
};

class SequenceCache final : public KvStore {
 public:
  // Pages come from the pool, which several caches may share; without one, from a pool of its own.
  SequenceCache(std::vector<config::CacheStream> layout,
                tensor::DType dtype,
                const CacheOptions& options = {},
                std::shared_ptr<PagePool> pool = nullptr);
  // A copy is a fork: it shares pages, and the two go on independently.
  SequenceCache(const SequenceCache&) = default;
  SequenceCache& operator=(const SequenceCache&) = default;
  SequenceCache(SequenceCache&&) = default;
  SequenceCache& operator=(SequenceCache&&) = default;
  ~SequenceCache() override = default;

  Index num_tokens() const override { return num_tokens_; }
  void append(Index stream_idx, const tensor::Tensor& rows) override;
  tensor::PagedRows rows(Index stream_idx) const override;
  void commit(Index num_new_tokens) override;
  void discard_uncommitted() override;

  // Where truncate would go to.
  Index resume_point(Index num_tokens) const;

  // Goes back to `num_tokens` or, where its rows are gone, to the latest earlier position that can
  // be resumed (at worst 0). Returns the position; the caller replays the tokens in between.
  Index truncate(Index num_tokens);

  // Whether truncate() would get to exactly `num_tokens`.
  bool is_resumable(Index num_tokens) const;
  // All such positions, ascending.
  std::vector<TokenRange> resumable_ranges() const;
  // A fork that holds no raw rows but those with which the end, the given positions and the
  // checkpoints are resumable, as far as they are here: for writing to disk.
  SequenceCache thinned(std::span<const Index> positions) const;

  const std::vector<config::CacheStream>& layout() const { return layout_; }
  tensor::DType dtype() const { return dtype_; }
  const RowStore& stream(Index stream_idx) const { return stores_[to_size(stream_idx)]; }
  // Adds a page of rows within a step, where rows end a page; see RowStore. For reading back what a
  // cache held: the caller makes sure that the position it commits is resumable.
  std::span<std::byte> append_page(Index stream_idx, Index num_rows, bool is_present);

  // Memory held, pages shared with forks included.
  Index num_bytes() const;

 private:
  bool is_checkpoint_page(const config::CacheStream& stream, Index page) const;
  void drop_old_rows();

  tensor::DType dtype_;
  std::vector<config::CacheStream> layout_;
  std::vector<RowStore> stores_;
  std::vector<Index> first_undropped_page_;  // per stream: pages before were looked at
  CacheOptions options_;
  Index num_tokens_ = 0;
};

}  // namespace fathom::kv

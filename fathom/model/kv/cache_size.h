// How much memory the cache of a sequence takes, from its layout alone: what a scheduler counts
// with before there is a cache.
#pragma once

#include <vector>

#include "fathom/compute/tensor/dtype.h"
#include "fathom/model/config/cache_layout.h"
#include "fathom/model/kv/sequence_cache.h"

namespace fathom::kv {

class CacheSize {
 public:
  CacheSize(std::vector<config::CacheStream> layout,
            tensor::DType dtype,
            const CacheOptions& options);

  // What a cache of `num_tokens` holds that shares nothing; at least what SequenceCache::num_bytes
  // says once it has them.
  Index resident_bytes(Index num_tokens) const;
  // Pages that appending `num_new` tokens in one step allocates, those that it drops at its end not
  // subtracted.
  Index growth_bytes(Index num_tokens, Index num_new) const;
  // One page of every stream: what the first append to a fork may copy beside its growth.
  Index fork_bytes() const { return fork_bytes_; }

 private:
  Index page_bytes(const config::CacheStream& stream) const;
  Index resident_pages(const config::CacheStream& stream, Index num_tokens) const;

  std::vector<config::CacheStream> layout_;
  tensor::DType dtype_;
  CacheOptions options_;
  Index fork_bytes_ = 0;
};

}  // namespace fathom::kv

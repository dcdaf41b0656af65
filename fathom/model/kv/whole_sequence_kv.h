// A cache for sequences that are computed whole, in one step: training and evaluation.
//
// It keeps no copies. A view of a stream leads to the very rows that a layer appended, in step
// memory; so gradients that reach a cached row reach what it was made of. The rows have to stay
// there for as long as they are looked at: until the layer that appended them has ended.
#pragma once

#include <vector>

#include "fathom/model/config/cache_layout.h"
#include "fathom/model/kv/kv_store.h"

namespace fathom::kv {

class WholeSequenceKv final : public KvStore {
 public:
  WholeSequenceKv(const std::vector<config::CacheStream>& layout, tensor::DType dtype);

  Index num_tokens() const override { return 0; }
  // All rows of a stream at once. Throws Unsupported for more to a stream that has some.
  void append(Index stream_idx, const tensor::Tensor& rows) override;
  tensor::PagedRows rows(Index stream_idx) const override;
  // There is nothing to go on from: forgets all rows, as discard_uncommitted().
  void commit(Index num_new_tokens) override;
  void discard_uncommitted() override;

 private:
  struct Stream {
    Index width;
    tensor::Tensor rows;
    std::vector<const void*> pages;
  };
  tensor::DType dtype_;
  std::vector<Stream> streams_;
};

}  // namespace fathom::kv

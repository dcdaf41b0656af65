// The seam between layers and the cache: layers append rows and ask for a view; they do not know
// how rows are kept.
#pragma once

#include "fathom/base/core/index.h"
#include "fathom/compute/tensor/matrix_view.h"
#include "fathom/compute/tensor/tensor.h"

namespace fathom::kv {

// The cache of one sequence. Streams are those of config/cache_layout.h, by index.
class KvStore {
 public:
  virtual ~KvStore() = default;

  // Tokens whose rows are complete: the position of the next token.
  virtual Index num_tokens() const = 0;

  // Adds rows [count, width] to a stream within a step.
  virtual void append(Index stream_idx, const tensor::Tensor& rows) = 0;

  // All rows of a stream, those of the step in progress included. Valid until the next append to
  // the stream.
  virtual tensor::PagedRows rows(Index stream_idx) const = 0;

  // Ends a step: its `num_new_tokens` are in every stream.
  virtual void commit(Index num_new_tokens) = 0;

  // Ends a step that failed: drops what it appended.
  virtual void discard_uncommitted() = 0;
};

}  // namespace fathom::kv

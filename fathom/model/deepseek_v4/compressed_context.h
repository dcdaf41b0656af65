// The part of attention that layer kinds differ in: which compressed rows a query sees besides its
// window (specification 3.3.3).
#pragma once

#include <memory>

#include "fathom/compute/ops/indexer_loss.h"
#include "fathom/model/deepseek_v4/compressor.h"
#include "fathom/model/layers/joined_rows.h"

namespace fathom::deepseek_v4 {

// What attention knows of the step's tokens before it attends.
struct QueryInputs {
  ops::LinearInput x;       // [T, D], normed input of the sub-block
  ops::LinearInput latent;  // [T, rank], what queries are made of
};

// Compressed rows that the tokens of a step see.
struct CompressedView {
  tensor::PagedRows rows;
  std::span<const Index> first_rows;  // [T]: where in `rows` those of the token's sequence begin
  tensor::Tensor selected;       // [T, *] block ids, ascending, -1 beyond; empty: the first ones
  std::span<Index> num_visible;  // [T]
  ops::IndexerScores scores;     // of what selected, if it is taught; else empty
};

class CompressedContext {
 public:
  virtual ~CompressedContext() = default;

  // Appends the step's tokens to the cache. A token that closes a block sees it already.
  virtual void append(ops::Context& context, const Step& step, const QueryInputs& inputs) const = 0;
  virtual CompressedView view(ops::Context& context,
                              const Step& step,
                              const QueryInputs& inputs) const = 0;
  // Tells what chose the rows of a view how attention used them (a loss of training).
  virtual void teach(ops::Context& /*context*/,
                     const Step& /*step*/,
                     const ops::SinkAttention& /*attention*/,
                     const CompressedView& /*view*/) const {}
};

// Null for sliding-window layers.
std::unique_ptr<CompressedContext> make_compressed_context(const LayerPlace& place);

}  // namespace fathom::deepseek_v4

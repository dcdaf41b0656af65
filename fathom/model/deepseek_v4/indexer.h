// The lightning indexer of CSA layers: which compressed rows a token attends to
// (specification 3.6).
#pragma once

#include "fathom/model/deepseek_v4/compressed_context.h"

namespace fathom::deepseek_v4 {

class Indexer {
 public:
  explicit Indexer(const LayerPlace& place);

  void append(ops::Context& context, const Step& step, const QueryInputs& inputs) const;

  // What blocks are chosen by. Queries and weights are empty where every visible block is chosen
  // anyway, unless the indexer is taught.
  ops::IndexerScores scores(ops::Context& context,
                            const Step& step,
                            const QueryInputs& inputs,
                            std::span<const Index> num_visible) const;
  // The chosen blocks of each of the step's tokens, [T, *], among the first num_visible[t].
  tensor::Tensor select(ops::Context& context,
                        const ops::IndexerScores& scores,
                        std::span<const Index> num_visible) const;

 private:
  Index head_dim_;
  Index top_k_;
  double weight_scale_;
  Index keys_stream_;
  Compressor compressor_;
  layers::Linear query_up_;
  layers::Linear head_weights_;
};

}  // namespace fathom::deepseek_v4

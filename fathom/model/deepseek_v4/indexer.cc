#include "fathom/model/deepseek_v4/indexer.h"

#include <algorithm>
#include <cmath>

#include "fathom/compute/ops/index_select.h"
#include "fathom/compute/ops/scale.h"

namespace fathom::deepseek_v4 {

using config::StreamKind;
using config::WeightRole;

Indexer::Indexer(const LayerPlace& place)
    : head_dim_(place.config.index_head_dim),
      top_k_(place.config.index_top_k),
      weight_scale_(1.0 / std::sqrt(static_cast<double>(place.config.index_head_dim)) /
                    std::sqrt(static_cast<double>(place.config.num_index_heads))),
      keys_stream_(place.stream(StreamKind::IndexKey)),
      compressor_(place.store,
                  place.config,
                  place.layer,
                  {.value = place.key(WeightRole::IndexerValue),
                   .gate = place.key(WeightRole::IndexerGate),
                   .position_bias = place.key(WeightRole::IndexerPositionBias),
                   .norm = place.key(WeightRole::IndexerNorm),
                   .finish = RowFinish::IndexKey,
                   .width = place.config.index_head_dim,
                   .input_stream = place.stream(StreamKind::IndexerInput),
                   .output_stream = keys_stream_},
                  place.frequencies),
      query_up_(place.store, place.key(WeightRole::IndexerQueryUp)),
      head_weights_(place.store, place.key(WeightRole::IndexerHeadWeights)) {}

void Indexer::append(ops::Context& context, const Step& step, const QueryInputs& inputs) const {
  compressor_.append(context, step, inputs.x);
}

tensor::Tensor Indexer::select(ops::Context& context,
                               const Step& step,
                               const QueryInputs& inputs,
                               std::span<const Index> num_visible) const {
  tensor::Tensor queries;
  tensor::Tensor weights;
  // Where every visible block is chosen anyway, there is nothing to score.
  if (*std::max_element(num_visible.begin(), num_visible.end()) > top_k_) {
    queries = query_up_.forward(context, inputs.latent);
    ops::rope(context, queries, head_dim_, step.cos_sin, false);
    finish_index_rows(context, queries, head_dim_);
    weights = head_weights_.forward(context, inputs.x);
    ops::scale(context, weights, weight_scale_);
  }
  const layers::JoinedRows keys = layers::join_rows(context.arena, step.batch, keys_stream_);
  return ops::index_select(context, queries, weights, keys.rows, num_visible, top_k_,
                           layers::rows_of_tokens(context.arena, step.batch, keys.first_rows));
}

}  // namespace fathom::deepseek_v4

#include "fathom/model/deepseek_v4/indexer.h"

#include <algorithm>
#include <cmath>

#include "fathom/compute/ops/copy.h"
#include "fathom/compute/ops/index_select.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/scale.h"

namespace fathom::deepseek_v4 {

using config::StreamKind;
using config::WeightRole;

namespace {

// The same numbers apart from what they were made of: where the indexer is taught, gradients end
// here. A rounded form is not needed then, as nothing that has one can be recorded.
ops::LinearInput detached(ops::Context& context, const ops::LinearInput& input) {
  if (context.recorder == nullptr || !ops::is_indexer_taught(context)) {
    return input;
  }
  const ops::RecorderScope silence(context, nullptr);
  const tensor::Tensor copy = context.allocate(input.x().shape());
  ops::copy(context, input.x(), copy);
  return copy;
}

}  // namespace

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
  compressor_.append(context, step, detached(context, inputs.x));
}

ops::IndexerScores Indexer::scores(ops::Context& context,
                                   const Step& step,
                                   const QueryInputs& inputs,
                                   std::span<const Index> num_visible) const {
  const layers::JoinedRows keys = layers::join_rows(context.arena, step.batch, keys_stream_);
  ops::IndexerScores scores = {
      {}, {}, keys.rows, layers::rows_of_tokens(context.arena, step.batch, keys.first_rows)};
  // Where every visible block is chosen anyway, there is nothing to score.
  if (*std::max_element(num_visible.begin(), num_visible.end()) > top_k_ ||
      ops::is_indexer_taught(context)) {
    scores.query = query_up_.forward(context, detached(context, inputs.latent));
    ops::rope(context, scores.query, head_dim_, step.cos_sin, false);
    finish_index_rows(context, scores.query, head_dim_);
    scores.weight = head_weights_.forward(context, detached(context, inputs.x));
    ops::scale(context, scores.weight, weight_scale_);
  }
  return scores;
}

tensor::Tensor Indexer::select(ops::Context& context,
                               const ops::IndexerScores& scores,
                               std::span<const Index> num_visible) const {
  return ops::index_select(context, scores, num_visible, top_k_);
}

}  // namespace fathom::deepseek_v4

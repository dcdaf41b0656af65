#include "fathom/model/deepseek_v4/mtp_block.h"

#include "fathom/compute/ops/copy.h"
#include "fathom/compute/ops/embed.h"
#include "fathom/model/layers/segment.h"

namespace fathom::deepseek_v4 {
namespace {

using config::WeightRole;

config::WeightKey mtp_key(WeightRole role) {
  return {role, config::Block::Mtp, 0};
}

}  // namespace

MtpBlock::MtpBlock(const DeepseekV4& model)
    : model_(model),
      layout_(config::mtp_cache_layout(model.config_)),
      embedding_norm_(
          *model.store_, mtp_key(WeightRole::MtpEmbeddingNorm), model.config_.norm_epsilon),
      hidden_norm_(*model.store_, mtp_key(WeightRole::MtpHiddenNorm), model.config_.norm_epsilon),
      embedding_projection_(*model.store_, mtp_key(WeightRole::MtpEmbeddingProjection)),
      hidden_projection_(*model.store_, mtp_key(WeightRole::MtpHiddenProjection)),
      layer_({.store = *model.store_,
              .config = model.config_,
              .layer = model.config_.mtp_layers.front(),
              .block = config::Block::Mtp,
              .layer_idx = 0,
              .layout = layout_,
              .frequencies = model.rope_.of(model.config_.mtp_layers.front())}),
      readout_(*model.store_, model.config_, config::Block::Mtp, 0) {}

tensor::Tensor MtpBlock::forward(ops::Context& context,
                                 const layers::TokenBatch& next_tokens,
                                 const tensor::Tensor& hidden) const {
  const tensor::Tensor streams = context.allocate(hidden.shape());
  const tensor::Arena::Scope scope(context.arena);
  const auto steps = model_.rope_.steps(context, next_tokens);
  const tensor::Tensor embedded = ops::embed(context, model_.embedding_.view(), next_tokens.tokens);
  const tensor::Tensor token_part =
      embedding_projection_.forward(context, embedding_norm_.forward(context, embedded));
  const tensor::Tensor rows = hidden.reshape({hidden.dim(0) * hidden.dim(1), hidden.dim(2)});
  const tensor::Tensor projected =
      hidden_projection_.forward(context, hidden_norm_.forward(context, rows));
  ops::copy(context, projected, streams);
  ops::add_to_streams(context, token_part, streams);
  layers::run_segment(context, next_tokens, streams,
                      [this, &context, step = steps.of(model_.config_.mtp_layers.front()),
                       streams] { layer_.forward(context, step, streams); });
  return streams;
}

tensor::Tensor MtpBlock::logits(ops::Context& context, const tensor::Tensor& hidden) const {
  return readout_.forward(context, hidden, model_.head_);
}

layers::HeadInput MtpBlock::head_input(ops::Context& context, const tensor::Tensor& hidden) const {
  return {readout_.forward(context, hidden), model_.head_.weight().view()};
}

}  // namespace fathom::deepseek_v4

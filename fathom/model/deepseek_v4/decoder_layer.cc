#include "fathom/model/deepseek_v4/decoder_layer.h"

namespace fathom::deepseek_v4 {

using config::WeightRole;
using layers::HyperConnection;

DecoderLayer::DecoderLayer(const LayerPlace& place)
    : layer_idx_(place.layer_idx),
      attention_connection_(place.store,
                            place.config,
                            {.fn = place.key(WeightRole::AttentionMixFn),
                             .base = place.key(WeightRole::AttentionMixBase),
                             .scale = place.key(WeightRole::AttentionMixScale)}),
      attention_norm_(place.store, place.key(WeightRole::AttentionNorm), place.config.norm_epsilon),
      attention_(place),
      expert_connection_(place.store,
                         place.config,
                         {.fn = place.key(WeightRole::ExpertMixFn),
                          .base = place.key(WeightRole::ExpertMixBase),
                          .scale = place.key(WeightRole::ExpertMixScale)}),
      feed_forward_norm_(
          place.store, place.key(WeightRole::FeedForwardNorm), place.config.norm_epsilon),
      experts_(place.store, place.config, place.layer, place.block, place.layer_idx) {}

void DecoderLayer::forward(ops::Context& context,
                           const Step& step,
                           const tensor::Tensor& streams) const {
  {
    const tensor::Arena::Scope scope(context.arena);
    const HyperConnection::Mix mix = attention_connection_.mix(context, streams);
    const tensor::Tensor attended =
        attention_.forward(context, step, attention_norm_.forward(context, mix.input));
    context.observe("attention_out", layer_idx_, attended);
    HyperConnection::merge(context, mix, attended, streams);
  }
  {
    const tensor::Arena::Scope scope(context.arena);
    const HyperConnection::Mix mix = expert_connection_.mix(context, streams);
    const tensor::Tensor mixed = experts_.forward(
        context, feed_forward_norm_.forward(context, mix.input), step.batch.tokens);
    context.observe("expert_out", layer_idx_, mixed);
    HyperConnection::merge(context, mix, mixed, streams);
  }
  context.observe("hidden", layer_idx_, streams);
}

}  // namespace fathom::deepseek_v4

#include "fathom/model/llama/decoder_layer.h"

#include "fathom/compute/ops/hyper_connection.h"

namespace fathom::llama {

using config::WeightRole;

DecoderLayer::DecoderLayer(const layers::LayerPlace& place)
    : layer_idx_(place.layer_idx),
      attention_norm_(place.store, place.key(WeightRole::AttentionNorm), place.config.norm_epsilon),
      attention_(place),
      mlp_norm_(place.store, place.key(WeightRole::FeedForwardNorm), place.config.norm_epsilon),
      mlp_(place.store,
           {.gate = place.key(WeightRole::MlpGate),
            .up = place.key(WeightRole::MlpUp),
            .down = place.key(WeightRole::MlpDown)},
           place.layer.swiglu_limit) {}

void DecoderLayer::forward(ops::Context& context,
                           const layers::Step& step,
                           const tensor::Tensor& hidden) const {
  // The residual connection is a hyper-connection of one stream.
  const tensor::Tensor stream = hidden.reshape({hidden.dim(0), 1, hidden.dim(1)});
  {
    const tensor::Arena::Scope scope(context.arena);
    const tensor::Tensor attended =
        attention_.forward(context, step, attention_norm_.forward(context, hidden));
    context.observe("attention_out", layer_idx_, attended);
    ops::add_to_streams(context, attended, stream);
  }
  {
    const tensor::Arena::Scope scope(context.arena);
    const tensor::Tensor mixed = mlp_.forward(context, mlp_norm_.forward(context, hidden));
    context.observe("mlp_out", layer_idx_, mixed);
    ops::add_to_streams(context, mixed, stream);
  }
  context.observe("hidden", layer_idx_, hidden);
}

}  // namespace fathom::llama

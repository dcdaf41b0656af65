#include "fathom/model/llama/attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fathom/compute/ops/grouped_attention.h"
#include "fathom/model/layers/rope.h"

namespace fathom::llama {

using config::WeightRole;

Attention::Attention(const layers::LayerPlace& place)
    : num_heads_(place.config.num_heads),
      head_dim_(place.config.head_dim),
      pairs_(layers::rope_pairs(place.layer.rope)),
      key_stream_(place.stream(config::StreamKind::Key)),
      value_stream_(place.stream(config::StreamKind::Value)),
      query_(place.store, place.key(WeightRole::Query)),
      key_(place.store, place.key(WeightRole::Key)),
      value_(place.store, place.key(WeightRole::Value)),
      output_(place.store, place.key(WeightRole::Output)) {}

tensor::Tensor Attention::forward(ops::Context& context,
                                  const layers::Step& step,
                                  const tensor::Tensor& x) const {
  const tensor::Tensor attended = context.allocate({x.dim(0), num_heads_ * head_dim_});
  {
    const tensor::Arena::Scope scope(context.arena);
    const auto [queries, keys, values] =
        layers::forward_together(context, query_.input(context, x), query_, key_, value_);
    ops::rope(context, keys, head_dim_, step.cos_sin, false, pairs_);
    append_rows(step, keys, values);
    ops::rope(context, queries, head_dim_, step.cos_sin, false, pairs_);
    attend(context, step, queries, attended);
  }
  return output_.forward(context, attended);
}

void Attention::append_rows(const layers::Step& step,
                            const tensor::Tensor& keys,
                            const tensor::Tensor& values) const {
  for (const layers::Segment& segment : step.batch.segments) {
    segment.kv->append(key_stream_, keys.slice(segment.first_row, segment.num_tokens));
    segment.kv->append(value_stream_, values.slice(segment.first_row, segment.num_tokens));
  }
}

void Attention::attend(ops::Context& context,
                       const layers::Step& step,
                       const tensor::Tensor& queries,
                       const tensor::Tensor& out) const {
  const std::span<const layers::Segment> segments = step.batch.segments;
  const auto sequences =
      context.arena.allocate_array<ops::GroupedAttention>(to_index(segments.size()));
  std::transform(segments.begin(), segments.end(), sequences.begin(), [&](const auto& segment) {
    const auto num_visible = context.arena.allocate_array<Index>(segment.num_tokens);
    std::iota(num_visible.begin(), num_visible.end(), segment.position + 1);
    return ops::GroupedAttention{.query = queries.slice(segment.first_row, segment.num_tokens),
                                 .keys = segment.kv->rows(key_stream_),
                                 .values = segment.kv->rows(value_stream_),
                                 .num_visible = num_visible,
                                 .head_dim = head_dim_,
                                 .scale = 1.0 / std::sqrt(static_cast<double>(head_dim_)),
                                 .out = out.slice(segment.first_row, segment.num_tokens)};
  });
  ops::grouped_attention(context, sequences);
}

}  // namespace fathom::llama

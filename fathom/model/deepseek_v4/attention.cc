#include "fathom/model/deepseek_v4/attention.h"

#include <algorithm>
#include <cmath>

#include "fathom/compute/ops/sink_attention.h"

namespace fathom::deepseek_v4 {

using config::WeightRole;

Attention::Attention(const LayerPlace& place)
    : num_heads_(place.config.num_heads),
      head_dim_(place.config.head_dim),
      rope_dim_(place.config.rope_dim),
      window_(place.config.window),
      num_output_groups_(place.config.num_output_groups),
      norm_epsilon_(place.config.norm_epsilon),
      window_stream_(place.stream(config::StreamKind::Window)),
      query_down_(place.store, place.key(WeightRole::QueryDown)),
      query_norm_(place.store, place.key(WeightRole::QueryNorm), norm_epsilon_),
      query_up_(place.store, place.key(WeightRole::QueryUp)),
      key_value_(place.store, place.key(WeightRole::KeyValue)),
      key_value_norm_(place.store, place.key(WeightRole::KeyValueNorm), norm_epsilon_),
      output_down_(place.store, place.key(WeightRole::OutputDown)),
      output_up_(place.store, place.key(WeightRole::OutputUp)),
      sink_(place.store.floats(place.key(WeightRole::Sink))),
      compressed_(make_compressed_context(place)) {}

tensor::Tensor Attention::forward(ops::Context& context,
                                  const Step& step,
                                  const tensor::Tensor& x) const {
  const tensor::Tensor attended = context.allocate({x.dim(0), num_heads_ * head_dim_});
  {
    const tensor::Arena::Scope scope(context.arena);
    const ops::LinearInput input = query_down_.input(context, x);
    const auto [query_down, key_value] =
        layers::forward_together(context, input, query_down_, key_value_);
    const tensor::Tensor latent = query_norm_.forward(context, query_down);
    const QueryInputs inputs{input, query_up_.input(context, latent)};
    append_window_rows(context, step, key_value);
    if (compressed_) {
      compressed_->append(context, step, inputs);
    }
    attend(context, step, inputs, queries(context, step, inputs.latent), attended);
  }
  // Values carry the rotation of their own position; turning back by the query's leaves distance.
  ops::rope(context, attended, head_dim_, step.cos_sin, true);
  return project_output(context, attended);
}

tensor::Tensor Attention::queries(ops::Context& context,
                                  const Step& step,
                                  const ops::LinearInput& latent) const {
  tensor::Tensor queries = query_up_.forward(context, latent);
  ops::head_norm(context, queries, head_dim_, norm_epsilon_);
  ops::rope(context, queries, head_dim_, step.cos_sin, false);
  return queries;
}

void Attention::append_window_rows(ops::Context& context,
                                   const Step& step,
                                   const tensor::Tensor& key_value) const {
  const tensor::Tensor rows = key_value_norm_.forward(context, key_value);
  ops::rope(context, rows, head_dim_, step.cos_sin, false);
  finish_key_value_rows(context, rows, head_dim_, rope_dim_);
  for (const layers::Segment& segment : step.batch.segments) {
    segment.kv->append(window_stream_, rows.slice(segment.first_row, segment.num_tokens));
  }
}

void Attention::attend(ops::Context& context,
                       const Step& step,
                       const QueryInputs& inputs,
                       const tensor::Tensor& queries,
                       const tensor::Tensor& out) const {
  const CompressedView compressed =
      compressed_ ? compressed_->view(context, step, inputs) : CompressedView{};
  const layers::JoinedRows window =
      layers::join_rows(context.arena, step.batch, window_stream_, window_ - 1);
  const auto visible = context.arena.allocate_array<ops::VisibleRows>(queries.dim(0));
  for (std::size_t idx = 0; idx < step.batch.segments.size(); ++idx) {
    const layers::Segment& segment = step.batch.segments[idx];
    for (Index token = 0; token < segment.num_tokens; ++token) {
      const Index row = segment.first_row + token;
      const Index position = segment.position + token;
      const Index first = std::max<Index>(0, position - window_ + 1);
      visible[to_size(row)] = {
          .first_window_row = window.first_rows[idx] + first,
          .num_window_rows = position - first + 1,
          .num_compressed_rows = compressed_ ? compressed.num_visible[to_size(row)] : 0,
          .first_compressed_row = compressed_ ? compressed.first_rows[to_size(row)] : 0};
    }
  }
  const ops::SinkAttention attention{.query = queries,
                                     .window = window.rows,
                                     .compressed = compressed.rows,
                                     .selected = compressed.selected,
                                     .visible = visible,
                                     .sink = sink_,
                                     .scale = 1.0 / std::sqrt(static_cast<double>(head_dim_)),
                                     .out = out};
  ops::sink_attention(context, attention);
  if (compressed_) {
    compressed_->teach(context, step, attention, compressed);
  }
}

tensor::Tensor Attention::project_output(ops::Context& context,
                                         const tensor::Tensor& attended) const {
  // The published code does not round the input of the grouped projection, whatever its format.
  const tensor::Tensor grouped =
      output_down_.forward_grouped(context, attended, num_output_groups_);
  return output_up_.forward(context, grouped);
}

}  // namespace fathom::deepseek_v4

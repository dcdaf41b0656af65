#include "fathom/model/deepseek_v4/compressor.h"

#include "fathom/compute/ops/compress_pool.h"
#include "fathom/compute/ops/hadamard.h"
#include "fathom/compute/ops/round_trip.h"

namespace fathom::deepseek_v4 {

void finish_index_rows(ops::Context& context, const tensor::Tensor& rows, Index width) {
  constexpr Index kGroup = 32;
  if (context.numerics == ops::Numerics::High) {
    return;  // a common rotation of queries and keys cancels in their products
  }
  ops::hadamard(context, rows, width);
  if (context.numerics == ops::Numerics::Official) {
    ops::round_trip(context, rows, width, width, kGroup, ops::RoundTripFormat::E2m1);
  }
}

void finish_key_value_rows(ops::Context& context,
                           const tensor::Tensor& rows,
                           Index width,
                           Index rope_dim) {
  constexpr Index kGroup = 64;
  if (context.numerics == ops::Numerics::Official) {
    ops::round_trip(context, rows, width, width - rope_dim, kGroup, ops::RoundTripFormat::E4m3);
  }
}

Compressor::Compressor(const weights::Store& store,
                       const config::ModelConfig& config,
                       const config::LayerConfig& layer,
                       const CompressorSpec& spec,
                       const ops::RopeFrequencies& frequencies)
    : spec_(spec),
      block_tokens_(layer.compress_ratio),
      has_overlap_(layer.attention == config::AttentionKind::CompressedSparse),
      rope_dim_(config.rope_dim),
      frequencies_(frequencies),
      value_(store, spec.value),
      gate_(store, spec.gate),
      position_bias_(store.floats(spec.position_bias)),
      norm_(store, spec.norm, config.norm_epsilon) {}

void Compressor::append(ops::Context& context,
                        const Step& step,
                        const ops::LinearInput& input) const {
  const Index width = value_.weight().view().rows;
  const tensor::Tensor rows = context.allocate({input.x().dim(0), 2 * width});
  // Kept in fp32 in both numerics until pooled.
  const numeric::WeightView weights[] = {value_.weight().view(), gate_.weight().view()};
  ops::linear_side_by_side(context, weights, input, context.unrounded_products(), rows);
  value_.low_rank().add(context, input.x(), {.y = rows});
  gate_.low_rank().add(context, input.x(), {.y = rows, .first_column = width});
  ops::add_position_bias(context, rows, step.batch.positions, position_bias_, block_tokens_);
  for (const layers::Segment& segment : step.batch.segments) {
    segment.kv->append(spec_.input_stream, rows.slice(segment.first_row, segment.num_tokens));
    close_blocks(context, *segment.kv);
  }
}

void Compressor::close_blocks(ops::Context& context, kv::KvStore& kv) const {
  const tensor::PagedRows inputs = kv.rows(spec_.input_stream);
  const Index first_block = kv.rows(spec_.output_stream).num_rows;
  const Index num_blocks = inputs.num_rows / block_tokens_ - first_block;
  if (num_blocks == 0) {
    return;
  }
  const tensor::Tensor pooled =
      ops::compress_pool(context, inputs, first_block, num_blocks, block_tokens_, has_overlap_);
  const tensor::Tensor rows = norm_.forward(context, pooled);
  // A compressed row is rotated at the position of its block's first token.
  const auto positions = context.arena.allocate_array<Index>(num_blocks);
  for (Index block = 0; block < num_blocks; ++block) {
    positions[to_size(block)] = (first_block + block) * block_tokens_;
  }
  ops::rope(context, rows, spec_.width, ops::rope_table(context, positions, frequencies_), false);
  if (spec_.finish == RowFinish::IndexKey) {
    finish_index_rows(context, rows, spec_.width);
  } else {
    finish_key_value_rows(context, rows, spec_.width, rope_dim_);
  }
  kv.append(spec_.output_stream, rows);
}

}  // namespace fathom::deepseek_v4

#include "fathom/model/deepseek_v4/compressed_context.h"

#include <algorithm>

#include "fathom/base/core/error.h"
#include "fathom/compute/ops/index_select.h"
#include "fathom/model/deepseek_v4/indexer.h"

namespace fathom::deepseek_v4 {
namespace {

using config::StreamKind;
using config::WeightRole;

// Block j is visible to the token at position t when (j + 1) * ratio <= t + 1.
std::span<Index> visible_blocks(tensor::Arena& arena, const Step& step, Index block_tokens) {
  const auto counts = arena.allocate_array<Index>(to_index(step.batch.positions.size()));
  std::transform(step.batch.positions.begin(), step.batch.positions.end(), counts.begin(),
                 [&](Index position) { return (position + 1) / block_tokens; });
  return counts;
}

// A view of all rows of a stream, everything visible.
CompressedView view_of(tensor::Arena& arena,
                       const Step& step,
                       Index stream_idx,
                       Index block_tokens) {
  const layers::JoinedRows joined = layers::join_rows(arena, step.batch, stream_idx);
  return {joined.rows,
          layers::rows_of_tokens(arena, step.batch, joined.first_rows),
          {},
          visible_blocks(arena, step, block_tokens),
          {}};
}

CompressorSpec main_compressor(const LayerPlace& place) {
  return {.value = place.key(WeightRole::CompressorValue),
          .gate = place.key(WeightRole::CompressorGate),
          .position_bias = place.key(WeightRole::CompressorPositionBias),
          .norm = place.key(WeightRole::CompressorNorm),
          .finish = RowFinish::KeyValue,
          .width = place.config.head_dim,
          .input_stream = place.stream(StreamKind::CompressorInput),
          .output_stream = place.stream(StreamKind::Compressed)};
}

class HeavilyCompressed final : public CompressedContext {  // HCA
 public:
  explicit HeavilyCompressed(const LayerPlace& place)
      : block_tokens_(place.layer.compress_ratio),
        rows_stream_(place.stream(StreamKind::Compressed)),
        compressor_(
            place.store, place.config, place.layer, main_compressor(place), place.frequencies) {}

  void append(ops::Context& context, const Step& step, const QueryInputs& inputs) const override {
    compressor_.append(context, step, inputs.x);
  }

  CompressedView view(ops::Context& context,
                      const Step& step,
                      const QueryInputs& /*inputs*/) const override {
    return view_of(context.arena, step, rows_stream_, block_tokens_);
  }

 private:
  Index block_tokens_;
  Index rows_stream_;
  Compressor compressor_;
};

class CompressedSparse final : public CompressedContext {  // CSA
 public:
  explicit CompressedSparse(const LayerPlace& place)
      : block_tokens_(place.layer.compress_ratio),
        rows_stream_(place.stream(StreamKind::Compressed)),
        layer_idx_(place.layer_idx),
        terms_idx_(layers::training_layer(place.config, place.block, place.layer_idx)),
        compressor_(
            place.store, place.config, place.layer, main_compressor(place), place.frequencies),
        indexer_(place) {}

  void append(ops::Context& context, const Step& step, const QueryInputs& inputs) const override {
    compressor_.append(context, step, inputs.x);
    indexer_.append(context, step, inputs);
  }

  CompressedView view(ops::Context& context,
                      const Step& step,
                      const QueryInputs& inputs) const override {
    CompressedView view = view_of(context.arena, step, rows_stream_, block_tokens_);
    view.scores = indexer_.scores(context, step, inputs, view.num_visible);
    view.selected = indexer_.select(context, view.scores, view.num_visible);
    context.observe("index_blocks", layer_idx_, view.selected);
    for (Index& count : view.num_visible) {
      count = std::min(count, view.selected.dim(1));
    }
    return view;
  }

  void teach(ops::Context& context,
             const Step& step,
             const ops::SinkAttention& attention,
             const CompressedView& view) const override {
    if (!ops::is_indexer_taught(context)) {
      return;
    }
    ops::SinkAttention compared = attention;
    if (context.training->teaches_every_block) {
      const auto counts = visible_blocks(context.arena, step, block_tokens_);
      const auto visible = context.arena.allocate_array<ops::VisibleRows>(to_index(counts.size()));
      for (std::size_t row = 0; row < counts.size(); ++row) {
        visible[row] = attention.visible[row];
        visible[row].num_compressed_rows = counts[row];
      }
      compared.visible = visible;
      compared.selected = {};
    }
    ops::teach_indexer(context, compared, view.scores, terms_idx_);
  }

 private:
  Index block_tokens_;
  Index rows_stream_;
  Index layer_idx_;
  Index terms_idx_;
  Compressor compressor_;
  Indexer indexer_;
};

}  // namespace

std::unique_ptr<CompressedContext> make_compressed_context(const LayerPlace& place) {
  switch (place.layer.attention) {
    case config::AttentionKind::SlidingWindow:
      return nullptr;
    case config::AttentionKind::CompressedSparse:
      return std::make_unique<CompressedSparse>(place);
    case config::AttentionKind::HeavilyCompressed:
      return std::make_unique<HeavilyCompressed>(place);
    case config::AttentionKind::Grouped:
      break;
  }
  fail(ErrorCode::Internal, "layer ", place.layer_idx, ": ",
       config::to_string(place.layer.attention), " attention has no compressed rows");
}

}  // namespace fathom::deepseek_v4

#include "fathom/compute/ops/indexer_loss.h"

#include <algorithm>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"
#include "fathom/compute/ops/sink_attention_operands.h"

namespace fathom::ops {
namespace {

struct Lesson {
  SinkAttention attention;
  IndexerScores scores;
  Index layer_idx;
};

struct MostRows {
  Index rows = 1;
  Index blocks = 1;
};

MostRows most_rows(const SinkAttention& attention) {
  MostRows most;
  for (const VisibleRows& visible : attention.visible) {
    most.rows = std::max(most.rows, visible.num_window_rows + visible.num_compressed_rows);
    most.blocks = std::max(most.blocks, visible.num_compressed_rows);
  }
  return most;
}

template <typename Real>
IndexerLossArgs<Real> operands_of(Context& context, const Lesson& lesson) {
  const SinkAttention& attention = lesson.attention;
  const tensor::Tensor scratch = context.allocate(
      {context.num_threads, IndexerLossArgs<Real>::scratch_columns(most_rows(attention).rows)});
  return {.attention = sink_attention_operands<Real>(attention, Rounding::None),
          .query = lesson.scores.query.matrix<Real>(),
          .weight = lesson.scores.weight.matrix<Real>(),
          .keys = lesson.scores.keys.table<Real>(),
          .first_keys = lesson.scores.first_keys,
          .losses = context.allocate({to_index(attention.visible.size())}).data<Real>(),
          .d_losses = nullptr,
          .d_query = {},
          .d_weight = {},
          .d_keys = {},
          .scratch = scratch.matrix<Real>(),
          .d_scores = {}};
}

// Calls use(row, share) for every row, its share of the sum of its layer.
template <typename Use>
void for_each_row(const TrainingTerms& terms, const Use& use) {
  for (const TrainingTerms::Piece& piece : terms.pieces) {
    const double share = piece.weight / static_cast<double>(piece.num_rows);
    for (Index row = piece.first_row; row < piece.first_row + piece.num_rows; ++row) {
      use(row, share);
    }
  }
}

// `gradients` null: only the losses.
void compute(Context& context, TrainingTerms& terms, const Lesson& lesson, Gradients* gradients) {
  const tensor::Arena::Scope scope(context.arena);
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    IndexerLossArgs<Real> args = operands_of<Real>(context, lesson);
    if (gradients != nullptr) {
      const Index num_tokens = lesson.scores.query.dim(0);
      const tensor::Tensor d_losses = context.allocate({num_tokens});
      for_each_row(terms, [&](Index row, double share) {
        d_losses.data<Real>()[row] = static_cast<Real>(terms.d_indexer_loss * share);
      });
      args.d_losses = d_losses.data<Real>();
      args.d_scores = context.allocate({num_tokens, most_rows(lesson.attention).blocks})
                          .template matrix<Real>();
      args.d_query = gradients->of(lesson.scores.query).template matrix<Real>();
      args.d_weight = gradients->of(lesson.scores.weight).template matrix<Real>();
      args.d_keys = gradients->of(lesson.scores.keys).template table<Real>();
    }
    kernels.training.indexer_loss.run(args, context.pool);
    double sum = 0;
    for_each_row(terms, [&](Index row, double share) {
      sum += share * static_cast<double>(args.losses[row]);
    });
    terms.layers.at(to_size(lesson.layer_idx)).indexer_loss = sum;
  });
}

}  // namespace

bool is_indexer_taught(const Context& context) {
  return context.training != nullptr && context.training->d_indexer_loss != 0 &&
         (context.training->is_forward_only || context.recorder != nullptr);
}

void teach_indexer(Context& context,
                   const SinkAttention& attention,
                   const IndexerScores& scores,
                   Index layer_idx) {
  if (!is_indexer_taught(context)) {
    return;
  }
  const Index num_tokens = to_index(attention.visible.size());
  require_equal("teach_indexer", "tokens of query", scores.query.dim(0), num_tokens);
  require_equal("teach_indexer", "tokens of weight", scores.weight.dim(0), num_tokens);
  require_equal("teach_indexer", "columns of query", scores.query.shape().last(),
                scores.weight.shape().last() * scores.keys.width);
  FATHOM_CHECK(to_index(scores.first_keys.size()) == num_tokens);
  TrainingTerms* const terms = context.training;
  const Lesson lesson{attention, scores, layer_idx};
  if (terms->is_forward_only) {
    compute(context, *terms, lesson, nullptr);
    return;
  }
  context.recorder->record("teach_indexer", {attention.out},
                           [terms, lesson](Context& back, Gradients& gradients) {
                             compute(back, *terms, lesson, &gradients);
                           });
}

}  // namespace fathom::ops

#include "fathom/compute/ops/distillation.h"

#include "fathom/compute/ops/head_blocks.h"
#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

void record_distillation(Context& context,
                         const numeric::WeightView& head,
                         const tensor::Tensor& x,
                         const TopTokens& teacher,
                         const tensor::Tensor& losses) {
  context.recorder->record("head_distillation", {losses}, [=](Context& back, Gradients& gradients) {
    for_each_head_block(back, head, x, [&](Index first, Index count, const tensor::Tensor& logits) {
      const TopTokens part = teacher.slice(first, count);
      with_kernels(back, [&](auto real, const auto& kernels) {
        using Real = decltype(real);
        kernels.training.distillation_backward.run(
            {.logits = logits.matrix<Real>(),
             .ids = part.ids.matrix<const std::int32_t>(),
             .log_probs = part.log_probs.matrix<Real>(),
             .temperature = part.temperature,
             .d_losses = gradients.of(losses.slice(first, count)).data<Real>()},
            back.pool);
      });
      go_back_through_head(back, gradients, head, x.slice(first, count), logits);
    });
  });
}

void check_ids(const tensor::Tensor& ids, Index vocab_size) {
  for (const std::int32_t id : int_span(ids)) {
    if (id < 0 || id >= vocab_size) {
      fail(ErrorCode::InvalidArgument, "teacher: token id ", id, ", expected 0 to ", vocab_size - 1,
           " (the student's vocabulary has ", vocab_size, " tokens)");
    }
  }
}

}  // namespace

TopTokens allocate_top_tokens(Context& context, Index num_tokens, Index k, double temperature) {
  return {tensor::Tensor::allocate(context.arena, tensor::DType::I32, {num_tokens, k}),
          context.allocate({num_tokens, k + 1}), temperature};
}

void head_top_log_probs(Context& context,
                        const numeric::WeightView& head,
                        const tensor::Tensor& x,
                        const TopTokens& top) {
  require_equal("head_top_log_probs", "rows of the result", top.ids.dim(0), x.dim(0));
  if (top.ids.dim(1) < 1 || top.ids.dim(1) > head.rows) {
    fail(ErrorCode::InvalidArgument, "most likely tokens: ", top.ids.dim(1), ", expected 1 to ",
         head.rows, " (the teacher's vocabulary)");
  }
  const RecorderScope silence(context, nullptr);
  for_each_head_block(
      context, head, x, [&](Index first, Index count, const tensor::Tensor& logits) {
        const TopTokens part = top.slice(first, count);
        with_kernels(context, [&](auto real, const auto& kernels) {
          using Real = decltype(real);
          kernels.training.top_log_probs.run({.logits = logits.matrix<Real>(),
                                              .temperature = part.temperature,
                                              .ids = part.ids.matrix<std::int32_t>(),
                                              .log_probs = part.log_probs.matrix<Real>()},
                                             context.pool);
        });
      });
}

tensor::Tensor head_distillation(Context& context,
                                 const numeric::WeightView& head,
                                 const tensor::Tensor& x,
                                 const TopTokens& teacher) {
  require_equal("head_distillation", "rows of the teacher", teacher.ids.dim(0), x.dim(0));
  check_ids(teacher.ids, head.rows);
  const tensor::Tensor losses = context.allocate({x.dim(0)});
  {
    const RecorderScope silence(context, nullptr);
    for_each_head_block(
        context, head, x, [&](Index first, Index count, const tensor::Tensor& logits) {
          const TopTokens part = teacher.slice(first, count);
          with_kernels(context, [&](auto real, const auto& kernels) {
            using Real = decltype(real);
            kernels.training.distillation.run({.logits = logits.matrix<Real>(),
                                               .ids = part.ids.matrix<const std::int32_t>(),
                                               .log_probs = part.log_probs.matrix<Real>(),
                                               .temperature = part.temperature,
                                               .losses = losses.data<Real>() + first},
                                              context.pool);
          });
        });
  }
  if (context.recorder != nullptr) [[unlikely]] {
    record_distillation(context, head, x, teacher, losses);
  }
  return losses;
}

}  // namespace fathom::ops

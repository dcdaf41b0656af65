#include "fathom/compute/ops/cross_entropy.h"

#include "fathom/compute/ops/head_blocks.h"
#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

void record_loss(Context& context,
                 const numeric::WeightView& head,
                 const tensor::Tensor& x,
                 std::span<const std::int32_t> targets,
                 const tensor::Tensor& losses) {
  context.recorder->record(
      "head_cross_entropy", {losses}, [=](Context& back, Gradients& gradients) {
        for_each_head_block(
            back, head, x, [&](Index first, Index count, const tensor::Tensor& logits) {
              with_kernels(back, [&](auto real, const auto& kernels) {
                using Real = decltype(real);
                kernels.training.cross_entropy_backward.run(
                    {.logits = logits.matrix<Real>(),
                     .targets = targets.subspan(to_size(first), to_size(count)),
                     .d_losses = gradients.of(losses.slice(first, count)).data<Real>()},
                    back.pool);
              });
              go_back_through_head(back, gradients, head, x.slice(first, count), logits);
            });
      });
}

}  // namespace

tensor::Tensor head_cross_entropy(Context& context,
                                  const numeric::WeightView& head,
                                  const tensor::Tensor& x,
                                  std::span<const std::int32_t> targets) {
  require_equal("head_cross_entropy", "targets", to_index(targets.size()), x.dim(0));
  for (std::size_t idx = 0; idx < targets.size(); ++idx) {
    if (targets[idx] < 0 || targets[idx] >= head.rows) {
      fail(ErrorCode::InvalidArgument, "target ", idx, ": id ", targets[idx], ", expected 0 to ",
           head.rows - 1, " (the vocabulary has ", head.rows, " tokens)");
    }
  }
  const tensor::Tensor losses = context.allocate({x.dim(0)});
  {
    const RecorderScope silence(context, nullptr);
    for_each_head_block(context, head, x,
                        [&](Index first, Index count, const tensor::Tensor& logits) {
                          with_kernels(context, [&](auto real, const auto& kernels) {
                            using Real = decltype(real);
                            kernels.training.cross_entropy.run(
                                {.logits = logits.matrix<Real>(),
                                 .targets = targets.subspan(to_size(first), to_size(count)),
                                 .losses = losses.data<Real>() + first},
                                context.pool);
                          });
                        });
  }
  if (context.recorder != nullptr) [[unlikely]] {
    record_loss(context, head, x, targets, losses);
  }
  return losses;
}

}  // namespace fathom::ops

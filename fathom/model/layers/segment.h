// A layer as a segment of a recorded step: computed again on the way back instead of kept.
#pragma once

#include <functional>
#include <utility>

#include "fathom/compute/ops/recorder.h"
#include "fathom/model/layers/causal_lm.h"

namespace fathom::layers {

// Runs `layer`, which changes `state` in place. Under a recorder it may run again later, when all
// that it captured has to be there; the rows it appended to the batch's caches are forgotten first,
// so those have to be whole-sequence caches.
template <typename Layer>
void run_segment(ops::Context& context,
                 const TokenBatch& batch,
                 const tensor::Tensor& state,
                 Layer layer) {
  if (context.recorder == nullptr) {
    layer();
    return;
  }
  context.recorder->record_segment(
      state, [segments = batch.segments, layer = std::move(layer), is_first = true]() mutable {
        if (!std::exchange(is_first, false)) {
          for (const Segment& segment : segments) {
            segment.kv->discard_uncommitted();
          }
        }
        layer();
      });
}

}  // namespace fathom::layers

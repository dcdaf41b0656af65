// What kernels read of attention with sinks: attention itself and the loss of its indexer.
#pragma once

#include "fathom/compute/ops/sink_attention.h"

namespace fathom::ops {

// What a kernel reads; its scratch and out are the caller's.
template <typename Real>
SinkAttentionArgs<Real> sink_attention_operands(const SinkAttention& attention, Rounding rounding) {
  return {.query = attention.query.matrix<Real>(),
          .window = attention.window.table<Real>(),
          .compressed = attention.compressed.table<Real>(),
          .selected = attention.selected.is_empty()
                          ? tensor::MatrixView<const std::int32_t>{}
                          : attention.selected.matrix<const std::int32_t>(),
          .visible = attention.visible,
          .sink = attention.sink,
          .scale = attention.scale,
          .rounding = rounding,
          .scratch = {},
          .out = {}};
}

}  // namespace fathom::ops

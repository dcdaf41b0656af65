#include <limits>

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
namespace {

// Row i of what the token sees: its window first, then compressed rows.
template <typename Real>
const Real* visible_row(const ops::SinkAttentionArgs<Real>& args, Index token, Index idx) {
  const ops::VisibleRows& visible = args.visible[to_size(token)];
  if (idx < visible.num_window_rows) {
    return args.window.row(visible.first_window_row + idx);
  }
  const Index compressed_idx = idx - visible.num_window_rows;
  return args.compressed.row(
      args.selected.data == nullptr ? compressed_idx : args.selected.row(token)[compressed_idx]);
}

}  // namespace

template <typename Real>
void sink_attention(const ops::SinkAttentionArgs<Real>& args,
                    platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.window.width;
  Real* scores = args.scratch.row(0);
  for (Index token = 0; token < args.query.rows; ++token) {
    const ops::VisibleRows& visible = args.visible[to_size(token)];
    const Index num_rows = visible.num_window_rows + visible.num_compressed_rows;
    for (Index head = 0; head < to_index(args.sink.size()); ++head) {
      const Real* query = args.query.row(token) + head * width;
      Real* out = args.out.row(token) + head * width;
      Real largest = -std::numeric_limits<Real>::infinity();
      for (Index idx = 0; idx < num_rows; ++idx) {
        scores[idx] =
            dot(query, visible_row(args, token, idx), width) * static_cast<Real>(args.scale);
        largest = std::max(largest, scores[idx]);
      }
      Real sum = 0;
      std::fill_n(out, width, Real{0});
      for (Index idx = 0; idx < num_rows; ++idx) {
        const Real weight = std::exp(scores[idx] - largest);
        sum += weight;
        const Real* row = visible_row(args, token, idx);
        const Real factor = rounded(weight, args.rounding);
        for (Index i = 0; i < width; ++i) {
          out[i] += factor * row[i];
        }
      }
      sum += std::exp(static_cast<Real>(args.sink[to_size(head)]) - largest);
      for (Index i = 0; i < width; ++i) {
        out[i] = rounded(out[i] / sum, args.rounding);
      }
    }
  }
}

template void sink_attention(const ops::SinkAttentionArgs<float>&, platform::ThreadPool&) noexcept;
template void sink_attention(const ops::SinkAttentionArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

#include <limits>

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
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
            dot(query, args.visible_row(token, idx), width) * static_cast<Real>(args.scale);
        largest = std::max(largest, scores[idx]);
      }
      Real sum = 0;
      std::fill_n(out, width, Real{0});
      for (Index idx = 0; idx < num_rows; ++idx) {
        const Real weight = std::exp(scores[idx] - largest);
        sum += weight;
        const Real* row = args.visible_row(token, idx);
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

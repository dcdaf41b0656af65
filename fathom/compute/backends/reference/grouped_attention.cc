#include "fathom/compute/ops/grouped_attention.h"

#include <limits>

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {

template <typename Real>
void grouped_attention(const ops::GroupedAttentionArgs<Real>& args,
                       platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.head_dim;
  Real* scores = args.scratch.row(0);
  for (Index token = 0; token < args.query.rows; ++token) {
    const Index num_rows = args.num_visible[to_size(token)];
    for (Index head = 0; head < args.query.columns / width; ++head) {
      const Index shared = head / args.heads_per_group() * width;
      const Real* query = args.query.row(token) + head * width;
      Real* out = args.out.row(token) + head * width;
      Real largest = -std::numeric_limits<Real>::infinity();
      for (Index idx = 0; idx < num_rows; ++idx) {
        scores[idx] =
            dot(query, args.keys.row(idx) + shared, width) * static_cast<Real>(args.scale);
        largest = std::max(largest, scores[idx]);
      }
      Real sum = 0;
      std::fill_n(out, width, Real{0});
      for (Index idx = 0; idx < num_rows; ++idx) {
        const Real weight = std::exp(scores[idx] - largest);
        sum += weight;
        const Real* value = args.values.row(idx) + shared;
        for (Index i = 0; i < width; ++i) {
          out[i] += weight * value[i];
        }
      }
      for (Index i = 0; i < width; ++i) {
        out[i] /= sum;
      }
    }
  }
}

template void grouped_attention(const ops::GroupedAttentionArgs<float>&,
                                platform::ThreadPool&) noexcept;
template void grouped_attention(const ops::GroupedAttentionArgs<double>&,
                                platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/ops/scalar_rows.h"

namespace fathom::reference {

template <typename Real>
void rope_table(const ops::RopeTableArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index row = 0; row < args.cos_sin.rows; ++row) {
    ops::rope_table_row(args, row);
  }
}

template <typename Real>
void rope(const ops::RopeArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  const Index pairs = args.cos_sin.columns / 2;
  const Real direction = args.is_inverse ? Real{-1} : Real{1};
  for (Index row = 0; row < args.x.rows; ++row) {
    const Real* cosine = args.cos_sin.row(row);
    const Real* sine = cosine + pairs;
    for (Index end = args.head_dim; end <= args.x.columns; end += args.head_dim) {
      Real* tail = args.x.row(row) + end - 2 * pairs;
      for (Index pair = 0; pair < pairs; ++pair) {
        const bool is_split = args.pairs == ops::RopePairs::Halves;
        Real& left = tail[is_split ? pair : 2 * pair];
        Real& right = tail[is_split ? pair + pairs : 2 * pair + 1];
        const Real first = left;
        const Real second = right;
        const Real turn = direction * sine[pair];
        left = rounded(first * cosine[pair] - second * turn, args.rounding);
        right = rounded(first * turn + second * cosine[pair], args.rounding);
      }
    }
  }
}

template void rope_table(const ops::RopeTableArgs<float>&, platform::ThreadPool&) noexcept;
template void rope_table(const ops::RopeTableArgs<double>&, platform::ThreadPool&) noexcept;
template void rope(const ops::RopeArgs<float>&, platform::ThreadPool&) noexcept;
template void rope(const ops::RopeArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/ops/top_k.h"

namespace fathom::reference {

template <typename Real>
void index_select(const ops::IndexSelectArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.keys.width;
  const Index num_heads = args.weight.columns;
  Real* scores = args.scratch.row(0);
  for (Index token = 0; token < args.out.rows; ++token) {
    const Index num_visible = args.num_visible[to_size(token)];
    if (num_visible > args.out.columns) {
      for (Index block = 0; block < num_visible; ++block) {
        Real score = 0;
        for (Index head = 0; head < num_heads; ++head) {
          const Real product =
              rounded(dot(args.query.row(token) + head * width, args.key(token, block), width),
                      args.rounding);
          score +=
              rounded(std::max(product, Real{0}) * args.weight.row(token)[head], args.rounding);
        }
        scores[block] = rounded(score, args.rounding);
      }
    }
    ops::select_top_k(scores, num_visible, args.out.columns, args.out.row(token));
  }
}

template void index_select(const ops::IndexSelectArgs<float>&, platform::ThreadPool&) noexcept;
template void index_select(const ops::IndexSelectArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

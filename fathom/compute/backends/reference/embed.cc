#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {

template <typename Real>
void embed(const ops::EmbedArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.out.rows; ++token) {
    numeric::decode_row(args.table, args.tokens[to_size(token)], 0, args.table.columns,
                        args.out.row(token));
  }
}

template <typename Real>
void embed_backward(const ops::EmbedBackwardArgs<Real>& args,
                    platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.d_out.rows; ++token) {
    Real* d_row = args.d_table.row(args.tokens[to_size(token)]);
    for (Index i = 0; i < args.d_out.columns; ++i) {
      d_row[i] += args.d_out.row(token)[i];
    }
  }
}

template void embed(const ops::EmbedArgs<float>&, platform::ThreadPool&) noexcept;
template void embed(const ops::EmbedArgs<double>&, platform::ThreadPool&) noexcept;
template void embed_backward(const ops::EmbedBackwardArgs<float>&, platform::ThreadPool&) noexcept;
template void embed_backward(const ops::EmbedBackwardArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {

template <typename Real>
void embed(const ops::EmbedArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.out.rows; ++token) {
    numeric::decode_row(args.table, args.tokens[to_size(token)], 0, args.table.columns,
                        args.out.row(token));
  }
}

template void embed(const ops::EmbedArgs<float>&, platform::ThreadPool&) noexcept;
template void embed(const ops::EmbedArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/ops/scalar_rows.h"

namespace fathom::reference {
template <typename Real>
void round_trip(const ops::RoundTripArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index row = 0; row < args.x.rows; ++row) {
    for (Index first = 0; first < args.num_columns; first += args.group) {
      const Index count = std::min(args.group, args.num_columns - first);
      ops::round_trip_group(args.x.row(row) + first, count, args.format, args.out.row(row) + first);
    }
  }
}

template void round_trip(const ops::RoundTripArgs<float>&, platform::ThreadPool&) noexcept;
template void round_trip(const ops::RoundTripArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

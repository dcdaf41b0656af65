#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
namespace {

// One group: its scale from the largest magnitude, then encode and decode every number. In double
// the numbers are rounded to fp32 first, which the 4- and 8-bit codes cannot tell.
template <typename Real>
void round_trip_group(Real* x, Index count, ops::RoundTripFormat format) {
  float largest = 0;
  for (Index i = 0; i < count; ++i) {
    largest = std::max(largest, static_cast<float>(std::abs(x[i])));
  }
  const bool is_e4m3 = format == ops::RoundTripFormat::E4m3;
  const float scale =
      is_e4m3 ? numeric::e4m3_group_scale(largest) : numeric::e2m1_group_scale(largest);
  for (Index i = 0; i < count; ++i) {
    const float scaled = static_cast<float>(x[i]) / scale;
    const float decoded = is_e4m3 ? numeric::e4m3_to_float(numeric::float_to_e4m3(scaled))
                                  : numeric::kE2m1Values[numeric::float_to_e2m1(scaled)];
    x[i] = static_cast<Real>(numeric::round_bf16(decoded * scale));
  }
}

}  // namespace

template <typename Real>
void round_trip(const ops::RoundTripArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index row = 0; row < args.x.rows; ++row) {
    for (Index first = 0; first < args.num_columns; first += args.group) {
      const Index count = std::min(args.group, args.num_columns - first);
      round_trip_group(args.x.row(row) + first, count, args.format);
    }
  }
}

template void round_trip(const ops::RoundTripArgs<float>&, platform::ThreadPool&) noexcept;
template void round_trip(const ops::RoundTripArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

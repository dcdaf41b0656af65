#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/ops/scalar_rows.h"

namespace fathom::reference {
template <typename Real>
void route(const ops::RouteArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.ids.rows; ++token) {
    ops::route_row(args, token);
  }
}

template <typename Real>
void combine_experts(const ops::CombineExpertsArgs<Real>& args,
                     platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.out.rows; ++token) {
    for (Index i = 0; i < args.out.columns; ++i) {
      Real sum = 0;
      for (Index chosen = 0; chosen < args.slot_of.columns; ++chosen) {
        sum += args.slots.row(args.slot_of.row(token)[chosen])[i];
      }
      args.out.row(token)[i] = rounded(sum + args.shared.row(token)[i], args.rounding);
    }
  }
}

template <typename Real>
void route_backward(const ops::RouteBackwardArgs<Real>& args,
                    platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.ids.rows; ++token) {
    ops::route_backward_row(args, token);
  }
}

template <typename Real>
void combine_experts_backward(const ops::CombineExpertsBackwardArgs<Real>& args,
                              platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.d_out.rows; ++token) {
    const Real* d_out = args.d_out.row(token);
    const auto add_to = [&](Real* d_row) {
      for (Index i = 0; i < args.d_out.columns; ++i) {
        d_row[i] += d_out[i];
      }
    };
    add_to(args.d_shared.row(token));
    for (Index chosen = 0; chosen < args.slot_of.columns; ++chosen) {
      add_to(args.d_slots.row(args.slot_of.row(token)[chosen]));
    }
  }
}

template void route(const ops::RouteArgs<float>&, platform::ThreadPool&) noexcept;
template void route(const ops::RouteArgs<double>&, platform::ThreadPool&) noexcept;
template void combine_experts(const ops::CombineExpertsArgs<float>&,
                              platform::ThreadPool&) noexcept;
template void combine_experts(const ops::CombineExpertsArgs<double>&,
                              platform::ThreadPool&) noexcept;
template void route_backward(const ops::RouteBackwardArgs<float>&, platform::ThreadPool&) noexcept;
template void route_backward(const ops::RouteBackwardArgs<double>&, platform::ThreadPool&) noexcept;
template void combine_experts_backward(const ops::CombineExpertsBackwardArgs<float>&,
                                       platform::ThreadPool&) noexcept;
template void combine_experts_backward(const ops::CombineExpertsBackwardArgs<double>&,
                                       platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

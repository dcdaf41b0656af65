#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
namespace {

template <typename Real>
Real sqrt_softplus(Real x) {
  // Linear above 20, as the official code has it: exp would only add noise there.
  return std::sqrt(x > Real{20} ? x : std::log1p(std::exp(x)));
}

// The best `count` experts by score + bias, ascending: as many passes over a short row, without
// memory of its own.
template <typename Real>
void choose_top_k(const Real* logits, std::span<const float> bias, Index count, std::int32_t* ids) {
  const auto score = [&](Index expert) {
    return sqrt_softplus(logits[expert]) + static_cast<Real>(bias[to_size(expert)]);
  };
  for (Index chosen = 0; chosen < count; ++chosen) {
    std::int32_t best = -1;
    Real best_score = 0;
    for (Index expert = 0; expert < to_index(bias.size()); ++expert) {
      const auto id = static_cast<std::int32_t>(expert);
      if (std::find(ids, ids + chosen, id) != ids + chosen) {
        continue;
      }
      const Real candidate = score(expert);
      if (best < 0 || candidate > best_score) {
        best = id;
        best_score = candidate;
      }
    }
    ids[chosen] = best;
  }
}

}  // namespace

template <typename Real>
void route(const ops::RouteArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  const Index count = args.ids.columns;
  for (Index token = 0; token < args.ids.rows; ++token) {
    const Real* logits = args.logits.row(token);
    std::int32_t* ids = args.ids.row(token);
    if (args.table.empty()) {
      choose_top_k(logits, args.bias, count, ids);
    } else {
      const auto first = args.table.begin() + args.tokens[to_size(token)] * count;
      std::copy_n(first, count, ids);
    }
    std::sort(ids, ids + count);
    Real* weights = args.weights.row(token);
    Real sum = 0;
    for (Index chosen = 0; chosen < count; ++chosen) {
      weights[chosen] = sqrt_softplus(logits[ids[chosen]]);
      sum += weights[chosen];
    }
    for (Index chosen = 0; chosen < count; ++chosen) {
      weights[chosen] = weights[chosen] / sum * static_cast<Real>(args.scale);
    }
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

template void route(const ops::RouteArgs<float>&, platform::ThreadPool&) noexcept;
template void route(const ops::RouteArgs<double>&, platform::ThreadPool&) noexcept;
template void combine_experts(const ops::CombineExpertsArgs<float>&,
                              platform::ThreadPool&) noexcept;
template void combine_experts(const ops::CombineExpertsArgs<double>&,
                              platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

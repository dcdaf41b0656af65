#include <limits>

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/ops/top_k.h"

namespace fathom::reference {
namespace {

// The log of a sum of exponentials, as their largest and the sum of all less that.
template <typename Real>
struct LogSum {
  Real largest = -std::numeric_limits<Real>::infinity();
  Real sum = 0;

  // Minus infinity of nothing.
  Real value() const { return sum > 0 ? largest + std::log(sum) : largest; }
};

// Of a row of logits divided by a temperature: of all tokens, and of those that are not in an
// ascending list.
template <typename Real>
struct RowSums {
  LogSum<Real> all;
  LogSum<Real> rest;
};

// Calls use(logit, idx) for every token; idx its place in the ascending list, or -1.
template <typename Real, typename Use>
void for_each_token(
    Real* logits, Index count, const std::int32_t* ids, Index num_ids, const Use& use) {
  Index idx = 0;
  for (Index token = 0; token < count; ++token) {
    const bool is_listed = idx < num_ids && ids[idx] == token;
    use(logits[token], is_listed ? idx : -1);
    idx += is_listed ? 1 : 0;
  }
}

template <typename Real>
RowSums<Real> sums_of_row(
    const Real* logits, Index count, const std::int32_t* ids, Index num_ids, Real temperature) {
  RowSums<Real> sums;
  for_each_token(logits, count, ids, num_ids, [&](Real logit, Index idx) {
    sums.all.largest = std::max(sums.all.largest, logit / temperature);
    if (idx < 0) {
      sums.rest.largest = std::max(sums.rest.largest, logit / temperature);
    }
  });
  for_each_token(logits, count, ids, num_ids, [&](Real logit, Index idx) {
    sums.all.sum += std::exp(logit / temperature - sums.all.largest);
    if (idx < 0) {
      sums.rest.sum += std::exp(logit / temperature - sums.rest.largest);
    }
  });
  return sums;
}

// One event's part of the divergence. What cannot happen costs nothing.
template <typename Real>
Real divergence(Real teacher, Real student) {
  const Real p = std::exp(teacher);
  return p == 0 ? Real{0} : p * (teacher - student);
}

}  // namespace

template <typename Real>
void top_log_probs(const ops::TopLogProbsArgs<Real>& args,
                   platform::ThreadPool& /*pool*/) noexcept {
  const auto temperature = static_cast<Real>(args.temperature);
  const Index k = args.ids.columns;
  for (Index row = 0; row < args.logits.rows; ++row) {
    const Real* logits = args.logits.row(row);
    std::int32_t* ids = args.ids.row(row);
    ops::select_top_k(logits, args.logits.columns, k, ids);
    const auto sums = sums_of_row(logits, args.logits.columns, ids, k, temperature);
    Real* log_probs = args.log_probs.row(row);
    for (Index idx = 0; idx < k; ++idx) {
      log_probs[idx] = logits[ids[idx]] / temperature - sums.all.value();
    }
    log_probs[k] = sums.rest.value() - sums.all.value();
  }
}

template <typename Real>
void distillation(const ops::DistillationArgs<Real>& args,
                  platform::ThreadPool& /*pool*/) noexcept {
  const auto temperature = static_cast<Real>(args.temperature);
  const Index k = args.ids.columns;
  for (Index row = 0; row < args.logits.rows; ++row) {
    const Real* logits = args.logits.row(row);
    const std::int32_t* ids = args.ids.row(row);
    const Real* teacher = args.log_probs.row(row);
    const auto sums = sums_of_row(logits, args.logits.columns, ids, k, temperature);
    Real loss = divergence(teacher[k], sums.rest.value() - sums.all.value());
    for (Index idx = 0; idx < k; ++idx) {
      loss += divergence(teacher[idx], logits[ids[idx]] / temperature - sums.all.value());
    }
    args.losses[row] = temperature * temperature * loss;
  }
}

template <typename Real>
void distillation_backward(const ops::DistillationBackwardArgs<Real>& args,
                           platform::ThreadPool& /*pool*/) noexcept {
  const auto temperature = static_cast<Real>(args.temperature);
  const Index k = args.ids.columns;
  for (Index row = 0; row < args.logits.rows; ++row) {
    Real* logits = args.logits.row(row);
    const std::int32_t* ids = args.ids.row(row);
    const Real* teacher = args.log_probs.row(row);
    const Index count = args.logits.columns;
    const auto sums = sums_of_row<Real>(logits, count, ids, k, temperature);
    const Real factor = args.d_losses[row] * temperature;
    const Real rest = std::exp(teacher[k]);
    for_each_token(logits, count, ids, k, [&](Real& logit, Index idx) {
      const Real scaled = logit / temperature;
      const Real student = std::exp(scaled - sums.all.largest) / sums.all.sum;
      // The lumped part is spread over its tokens as the student spreads it.
      const Real target = idx < 0 ? rest * (std::exp(scaled - sums.rest.largest) / sums.rest.sum)
                                  : std::exp(teacher[idx]);
      logit = factor * (student - target);
    });
  }
}

template void top_log_probs(const ops::TopLogProbsArgs<float>&, platform::ThreadPool&) noexcept;
template void top_log_probs(const ops::TopLogProbsArgs<double>&, platform::ThreadPool&) noexcept;
template void distillation(const ops::DistillationArgs<float>&, platform::ThreadPool&) noexcept;
template void distillation(const ops::DistillationArgs<double>&, platform::ThreadPool&) noexcept;
template void distillation_backward(const ops::DistillationBackwardArgs<float>&,
                                    platform::ThreadPool&) noexcept;
template void distillation_backward(const ops::DistillationBackwardArgs<double>&,
                                    platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

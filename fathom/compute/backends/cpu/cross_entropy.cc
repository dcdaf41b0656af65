// The loss of predicting the next token from logits, and its gradient: a row per tile.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/cross_entropy.cc"
#include <algorithm>
#include <cmath>
#include <limits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

// The last numbers of a row, and behind them what exp() makes nothing of.
HWY_INLINE LaneSet load_logits_tail(const float* from, Index count) {
  HWY_ALIGN float padded[kLanes];
  std::fill(std::copy(from, from + count, padded), padded + kLanes,
            -std::numeric_limits<float>::infinity());
  return load_lanes(padded);
}

// A NaN may or may not be the largest: it is one again in the exponentials.
HWY_INLINE float largest_of(const float* logits, Index count) {
  LaneSet largest;
  for (Index i = 0; i < kRegisters; ++i) {
    largest.v[i] = hn::Set(D(), -std::numeric_limits<float>::infinity());
  }
  const auto take = [&](const LaneSet& numbers) {
    for (Index i = 0; i < kRegisters; ++i) {
      largest.v[i] = hn::Max(largest.v[i], numbers.v[i]);
    }
  };
  Index k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    take(load_lanes(logits + k));
  }
  if (k < count) {
    take(load_logits_tail(logits + k, count - k));
  }
  HWY_ALIGN float lanes[kLanes];
  store_lanes(largest, lanes);
  return *std::max_element(lanes, lanes + kLanes);
}

// exp(logits - largest); Highway's is zero for a NaN.
HWY_INLINE LaneSet exponentials(LaneSet logits, V largest) {
  for (Index i = 0; i < kRegisters; ++i) {
    const V exponent = hn::Sub(logits.v[i], largest);
    logits.v[i] = hn::IfThenElse(hn::IsNaN(exponent), exponent, hn::Exp(D(), exponent));
  }
  return logits;
}

HWY_INLINE void add_to(LaneSet& sum, const LaneSet& numbers) {
  for (Index i = 0; i < kRegisters; ++i) {
    sum.v[i] = hn::Add(sum.v[i], numbers.v[i]);
  }
}

// The sum of exp(logits - largest), 16 lanes over the row. use(k, lanes) sees the exponentials of
// whole lane sets, and use_tail(k, lanes, count) the last ones.
template <typename Use, typename UseTail>
HWY_INLINE float sum_exponentials(
    const float* logits, Index count, float largest, const Use& use, const UseTail& use_tail) {
  const V shift = hn::Set(D(), largest);
  LaneSet sum = zero_lanes();
  Index k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    const LaneSet numbers = exponentials(load_lanes(logits + k), shift);
    add_to(sum, numbers);
    use(k, numbers);
  }
  if (k < count) {
    const LaneSet numbers = exponentials(load_logits_tail(logits + k, count - k), shift);
    add_to(sum, numbers);
    use_tail(k, numbers, count - k);
  }
  return sum_lanes(sum);
}

float loss_of(const float* logits, Index count, Index target) {
  const float largest = largest_of(logits, count);
  const float sum = sum_exponentials(
      logits, count, largest, [](Index, const LaneSet&) {}, [](Index, const LaneSet&, Index) {});
  return std::log(sum) + (largest - logits[target]);
}

void turn_into_gradient(float* logits, Index count, Index target, float d_loss) {
  const float largest = largest_of(logits, count);
  const float sum = sum_exponentials(
      logits, count, largest,
      [&](Index k, const LaneSet& numbers) { store_lanes(numbers, logits + k); },
      [&](Index k, const LaneSet& numbers, Index rest) {
        HWY_ALIGN float lanes[kLanes];
        store_lanes(numbers, lanes);
        std::copy(lanes, lanes + rest, logits + k);
      });
  const V factor = hn::Set(D(), d_loss / sum);
  map_row(count, logits, [&](const auto& load) { return hn::Mul(load(logits), factor); });
  logits[target] -= d_loss;
}

}  // namespace

void cross_entropy(const ops::CrossEntropyArgs<float>& args, platform::ThreadPool& pool) {
  pool.parallel_for(args.logits.rows, [&](Index row, int /*thread*/) {
    args.losses[row] =
        loss_of(args.logits.row(row), args.logits.columns, args.targets[to_size(row)]);
  });
}

void cross_entropy_backward(const ops::CrossEntropyBackwardArgs<float>& args,
                            platform::ThreadPool& pool) {
  pool.parallel_for(args.logits.rows, [&](Index row, int /*thread*/) {
    turn_into_gradient(args.logits.row(row), args.logits.columns, args.targets[to_size(row)],
                       args.d_losses[row]);
  });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(cross_entropy);
HWY_EXPORT(cross_entropy_backward);

void fill_cross_entropy(ops::TrainingKernels<float>& table, const Isa& isa) {
  table.cross_entropy = {select(HWY_DISPATCH_TABLE(cross_entropy), isa), isa.name};
  table.cross_entropy_backward = {select(HWY_DISPATCH_TABLE(cross_entropy_backward), isa),
                                  isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

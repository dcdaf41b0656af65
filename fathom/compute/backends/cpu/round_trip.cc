// FP8 and FP4 groups of activations, encoded and decoded at once: the bits of the reference.
//
// No code is made. Numbers of one exponent are multiples of one step, so adding and taking away
// 1.5 * 2^23 steps leaves the nearest multiple, ties to even.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/round_trip.cc"
#include <algorithm>
#include <limits>
#include <type_traits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/numeric/small_floats.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

// Fewer numbers are done before the other threads would have begun.
constexpr Index kTileNumbers = 4096;

// What tells the formats apart.
struct E4m3 {
  static constexpr float kLargest = 448;
  static constexpr float kSmallestNormal = 0x1p-6F;
  static constexpr int kMantissaBits = 3;
  static float scale_of(float largest) { return numeric::e4m3_group_scale(largest); }
  // A NaN stays one, without its sign.
  static HWY_INLINE V finish(V number, V decoded) {
    const V nan = hn::Set(D(), std::numeric_limits<float>::quiet_NaN());
    return hn::IfThenElse(hn::IsNaN(number), nan, decoded);
  }
};
struct E2m1 {
  static constexpr float kLargest = 6;
  static constexpr float kSmallestNormal = 1;
  static constexpr int kMantissaBits = 1;
  static float scale_of(float largest) { return numeric::e2m1_group_scale(largest); }
  // A NaN is the largest number: there is no other.
  static HWY_INLINE V finish(V /*number*/, V decoded) { return decoded; }
};

// The nearest number of the format.
template <typename Format>
HWY_INLINE V nearest(V number) {
  const hn::RebindToUnsigned<D> du;
  const V limit = hn::Set(D(), Format::kLargest);
  const V magnitude = hn::Abs(number);
  const V bounded = hn::IfThenElse(hn::Lt(magnitude, limit), magnitude, limit);
  const V normal = hn::Max(bounded, hn::Set(D(), Format::kSmallestNormal));
  // 1.5 * 2^23 steps, where a step is 2^-kMantissaBits of the power of two below the number.
  constexpr std::uint32_t kSteps = ((23U - Format::kMantissaBits) << 23) | 0x400000U;
  const auto power = hn::And(hn::BitCast(du, normal), hn::Set(du, 0x7f800000U));
  const V shift = hn::BitCast(D(), hn::Add(power, hn::Set(du, kSteps)));
  const V rounded = hn::Sub(hn::Add(bounded, shift), shift);
  return Format::finish(number, hn::CopySign(rounded, number));
}

// A NaN counts for nothing.
HWY_INLINE float largest_magnitude(const float* x, Index count) {
  V largest = hn::Zero(D());
  const auto include = [&](V numbers) {
    const V magnitude = hn::Abs(numbers);
    largest = hn::Max(largest, hn::IfThenZeroElse(hn::IsNaN(magnitude), magnitude));
  };
  Index i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    include(hn::LoadU(D(), x + i));
  }
  if (i < count) {
    HWY_ALIGN float padded[kLanes] = {};
    std::copy(x + i, x + count, padded);
    include(hn::Load(D(), padded));
  }
  return hn::GetLane(hn::MaxOfLanes(D(), largest));
}

struct Bf16 {};  // has no scale

// One group. Scales are powers of two with a reciprocal that fits fp32 (zero for an infinite one),
// so the product with it is the quotient; and what has at most four bits is a BF16 number.
template <typename Format>
HWY_INLINE void round_group(const float* x, Index count, float* out) {
  if constexpr (std::is_same_v<Format, Bf16>) {
    map_row(count, out, [&](const auto& load) { return rounded(load(x), ops::Rounding::Bf16); });
    return;
  } else {
    const float scale = Format::scale_of(largest_magnitude(x, count));
    const V inverse = hn::Set(D(), 1.0F / scale);
    const V factor = hn::Set(D(), scale);
    map_row(count, out, [&](const auto& load) {
      return hn::Mul(nearest<Format>(hn::Mul(load(x), inverse)), factor);
    });
  }
}

template <typename Format>
void round_rows(const ops::RoundTripArgs<float>& args, platform::ThreadPool& pool) {
  const Index tile_rows = std::max<Index>(kTileNumbers / std::max<Index>(args.num_columns, 1), 1);
  pool.parallel_for(ceil_div(args.x.rows, tile_rows), [&](Index tile, int /*thread*/) {
    const Index end = std::min((tile + 1) * tile_rows, args.x.rows);
    for (Index row = tile * tile_rows; row < end; ++row) {
      for (Index first = 0; first < args.num_columns; first += args.group) {
        round_group<Format>(args.x.row(row) + first, std::min(args.group, args.num_columns - first),
                            args.out.row(row) + first);
      }
    }
  });
}

}  // namespace

void round_trip(const ops::RoundTripArgs<float>& args, platform::ThreadPool& pool) {
  switch (args.format) {
    case ops::RoundTripFormat::E4m3:
      return round_rows<E4m3>(args, pool);
    case ops::RoundTripFormat::E2m1:
      return round_rows<E2m1>(args, pool);
    case ops::RoundTripFormat::Bf16:
      return round_rows<Bf16>(args, pool);
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(round_trip);

void fill_round_trip(ops::KernelTable<float>& table, const Isa& isa) {
  table.round_trip = {select(HWY_DISPATCH_TABLE(round_trip), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

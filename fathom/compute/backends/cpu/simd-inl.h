// What the CPU kernels share, compiled once per instruction set (Highway's foreach_target).
//
// The K-order of docs/numerics.md: 16 lanes whatever the width of a register; number k is added to
// lane k mod 16 and the lanes are summed as a tree. Widths below 16 use several registers per lane
// set, so all instruction sets with fused multiply-add give the same bits.

// Not #pragma once: it is included once per target.
#if defined(FATHOM_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_SIMD_INL_H_
#undef FATHOM_CPU_SIMD_INL_H_
#else
#define FATHOM_CPU_SIMD_INL_H_
#endif

#include <type_traits>

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "fathom/base/core/index.h"
#include "fathom/compute/ops/numerics.h"

// HWY_BEFORE_NAMESPACE for functions that use more instructions than the target's ("avx512bf16").
// It stands in its place, not inside: clang takes the outermost list of instructions alone. A
// lambda has the list of its function, and with HWY_ATTR the target's.
#define FATHOM_BEFORE_NAMESPACE_FOR(instructions) \
  HWY_PUSH_ATTRIBUTES(instructions)               \
  static_assert(true, "asks for the semicolon")
#define FATHOM_BEFORE_NAMESPACE_WITH(more) FATHOM_BEFORE_NAMESPACE_FOR(HWY_TARGET_STR "," more)

// Products of bytes, four added to one integer: AVX-512 has them in the target AVX3_DL (which
// Highway 1.0.3 compiles without), some processors with AVX2 or NEON beside the target. For these a
// file is compiled once more, with FATHOM_CPU_WITH_DOT, into a namespace of its own; and a third
// time with FATHOM_CPU_WITH_I8MM, for NEON's products of matrices of bytes.
#ifdef FATHOM_CPU_WITH_I8MM
#define FATHOM_CPU_WITH_DOT
#endif
// FATHOM_IS_COMPILED says whether the file's kernels are for this target.
#undef FATHOM_HAS_DOT
#undef FATHOM_HAS_I8MM
#undef FATHOM_IS_COMPILED
#undef FATHOM_NAMESPACE
#undef FATHOM_BEFORE_DOT_NAMESPACE
#if HWY_TARGET == HWY_AVX3_DL
#define FATHOM_HAS_DOT 1
#define FATHOM_BEFORE_DOT_NAMESPACE() FATHOM_BEFORE_NAMESPACE_WITH("avx512vnni")
#elif defined(FATHOM_CPU_WITH_DOT) && HWY_TARGET == HWY_AVX2
#define FATHOM_HAS_DOT 1
#define FATHOM_BEFORE_DOT_NAMESPACE() FATHOM_BEFORE_NAMESPACE_WITH("avxvnni")
#elif defined(FATHOM_CPU_WITH_I8MM) && HWY_TARGET == HWY_NEON
#define FATHOM_HAS_DOT 1
#define FATHOM_HAS_I8MM 1
#define FATHOM_BEFORE_DOT_NAMESPACE() \
  FATHOM_BEFORE_NAMESPACE_FOR("arch=armv8.2-a+crypto+dotprod+i8mm")
#elif defined(FATHOM_CPU_WITH_DOT) && HWY_TARGET == HWY_NEON
#define FATHOM_HAS_DOT 1
#define FATHOM_BEFORE_DOT_NAMESPACE() FATHOM_BEFORE_NAMESPACE_FOR("arch=armv8.2-a+crypto+dotprod")
#else
#define FATHOM_HAS_DOT 0
#define FATHOM_BEFORE_DOT_NAMESPACE() HWY_BEFORE_NAMESPACE()
#endif
#ifndef FATHOM_HAS_I8MM
#define FATHOM_HAS_I8MM 0
#endif
#if defined(FATHOM_CPU_WITH_I8MM)
#define FATHOM_NAMESPACE HWY_CONCAT(HWY_NAMESPACE, _I8MM)
#define FATHOM_IS_COMPILED (HWY_TARGET == HWY_NEON)
#elif defined(FATHOM_CPU_WITH_DOT)
#define FATHOM_NAMESPACE HWY_CONCAT(HWY_NAMESPACE, _DOT)
#define FATHOM_IS_COMPILED (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_NEON)
#else
#define FATHOM_NAMESPACE HWY_NAMESPACE
#define FATHOM_IS_COMPILED 1
#endif

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::FATHOM_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr Index kLanes = 16;
using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
inline constexpr Index kWidth = static_cast<Index>(hn::MaxLanes(D()));  // numbers in a register
inline constexpr Index kRegisters = kLanes / kWidth;                    // registers in a lane set

// Calls body with a number, kLeast to kMost, that is known when compiling.
template <Index kMost, Index kLeast = 1, typename Body>
HWY_INLINE void with_constant(Index number, const Body& body) {
  if constexpr (kMost > kLeast) {
    if (number < kMost) {
      return with_constant<kMost - 1, kLeast>(number, body);
    }
  }
  body(std::integral_constant<Index, kMost>());
}

// How long parts of `count` > 0 are, as few and as even as can be, of at most `most` each. A short
// rest would cost as much beside its products as a long part.
HWY_INLINE Index even_part(Index count, Index most) {
  return ceil_div(count, ceil_div(count, most));
}

// What one fetch_ahead() brings.
inline constexpr Index kLineBytes = 64;

// Asks for what is read from memory later. Into the second-level cache: the first has room for few
// lines that are on their way, and a product of several tokens, which needs that room for the
// tokens, took half as long again.
HWY_INLINE void fetch_ahead(const void* from) {
  __builtin_prefetch(from, 0, 2);
}

// 16 lanes of partial sums.
struct LaneSet {
  // Written out, because g++ compiles an implicit constructor without the target of this namespace,
  // and NEON's registers have constructors of their own.
  HWY_INLINE LaneSet() {}  // NOLINT(modernize-use-equals-default)
  V v[kRegisters];
};

HWY_INLINE LaneSet zero_lanes() {
  LaneSet lanes;
  for (Index i = 0; i < kRegisters; ++i) {
    lanes.v[i] = hn::Zero(D());
  }
  return lanes;
}

HWY_INLINE LaneSet load_lanes(const float* from) {
  LaneSet lanes;
  for (Index i = 0; i < kRegisters; ++i) {
    lanes.v[i] = hn::LoadU(D(), from + i * kWidth);
  }
  return lanes;
}

HWY_INLINE void store_lanes(const LaneSet& lanes, float* to) {
  for (Index i = 0; i < kRegisters; ++i) {
    hn::StoreU(lanes.v[i], D(), to + i * kWidth);
  }
}

HWY_INLINE void multiply_add(const LaneSet& a, const LaneSet& b, LaneSet& sum) {
  for (Index i = 0; i < kRegisters; ++i) {
    sum.v[i] = hn::MulAdd(a.v[i], b.v[i], sum.v[i]);
  }
}

// lane l += lane l + 8, then + 4, + 2, + 1.
HWY_INLINE float sum_lanes(LaneSet lanes) {
  for (Index half = kRegisters / 2; half > 0; half /= 2) {
    for (Index i = 0; i < half; ++i) {
      lanes.v[i] = hn::Add(lanes.v[i], lanes.v[i + half]);
    }
  }
#if HWY_TARGET == HWY_SCALAR
  return hn::GetLane(lanes.v[0]);
#else
  const hn::CappedTag<float, 8> d8;
  const hn::CappedTag<float, 4> d4;
  const auto fold8 = [&](auto v) {
    if constexpr (kWidth == 16) {
      return hn::Add(hn::LowerHalf(d8, v), hn::UpperHalf(d8, v));
    } else {
      return v;
    }
  };
  const auto fold4 = [&](auto v) {
    if constexpr (kWidth >= 8) {
      return hn::Add(hn::LowerHalf(d4, v), hn::UpperHalf(d4, v));
    } else {
      return v;
    }
  };
  const auto four = fold4(fold8(lanes.v[0]));
  const auto two = hn::Add(four, hn::Shuffle1032(four));
  return hn::GetLane(hn::Add(two, hn::Shuffle2301(two)));
#endif
}

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
// sum_lanes() of 16 lane sets at once, by halves: a register holds two sets after the first step,
// then four, eight and sixteen.
HWY_INLINE V sum_16_lane_sets(const LaneSet* sets) {
  const D d;
  const hn::Repartition<double, D> d64;
  V two[8];
  for (Index i = 0; i < 8; ++i) {  // sets i and i + 8
    const V a = sets[i].v[0];
    const V b = sets[i + 8].v[0];
    two[i] = hn::Add(hn::ConcatLowerLower(d, b, a), hn::ConcatUpperUpper(d, b, a));
  }
  V four[4];
  for (Index i = 0; i < 4; ++i) {  // blocks of sets i, i + 4, i + 8, i + 12
    const V a = two[i];
    const V b = two[i + 4];
    four[i] = hn::Add(hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a),
                      hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a)));
  }
  V eight[2];
  for (Index i = 0; i < 2; ++i) {  // in every block pairs of two sets, i and i + 2
    const auto a = hn::BitCast(d64, four[i]);
    const auto b = hn::BitCast(d64, four[i + 2]);
    eight[i] = hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, a, b)),
                       hn::BitCast(d, hn::InterleaveUpper(d64, a, b)));
  }
  // Pairs of sets 0, 2, 4, 6, ... and of 1, 3, 5, 7, ...
  const V sums =
      hn::Add(hn::ConcatEven(d, eight[1], eight[0]), hn::ConcatOdd(d, eight[1], eight[0]));
  alignas(64) static constexpr std::int32_t kOrder[16] = {0, 8,  1, 9,  2, 10, 3, 11,
                                                          4, 12, 5, 13, 6, 14, 7, 15};
  return hn::TableLookupLanes(sums, hn::SetTableIndices(d, kOrder));
}
#endif

// The last count < 16 numbers of a row, zeros behind.
HWY_INLINE LaneSet load_tail(const float* from, Index count) {
  HWY_ALIGN float padded[kLanes] = {};
  for (Index i = 0; i < count; ++i) {
    padded[i] = from[i];
  }
  return load_lanes(padded);
}

HWY_INLINE float dot(const float* a, const float* b, Index count) {
  LaneSet sum = zero_lanes();
  Index k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    multiply_add(load_lanes(a + k), load_lanes(b + k), sum);
  }
  if (k < count) {
    multiply_add(load_tail(a + k, count - k), load_tail(b + k, count - k), sum);
  }
  return sum_lanes(sum);
}

// Nearest BF16, ties to even; NaN stays NaN.
HWY_INLINE V round_bf16(V value) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff)));
  const auto kept = hn::BitCast(D(), hn::And(rounded, hn::Set(du, 0xffff0000U)));
  return hn::IfThenElse(hn::IsNaN(value), value, kept);
}

HWY_INLINE V rounded(V value, ops::Rounding rounding) {
  return rounding == ops::Rounding::Bf16 ? round_bf16(value) : value;
}

// out[i] = body(load) for `count` numbers, a register at a time: load(pointer) gives the numbers at
// the same offset of any array. The tail is padded with zeros and only its own numbers are stored.
template <typename Body>
HWY_INLINE void map_row(Index count, float* out, const Body& body) {
  Index i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    hn::StoreU(body([i](const float* from) { return hn::LoadU(D(), from + i); }), D(), out + i);
  }
  if (i < count) {
    HWY_ALIGN float result[kLanes];
    const auto load = [i, count](const float* from) {
      HWY_ALIGN float padded[kLanes] = {};
      for (Index k = i; k < count; ++k) {
        padded[k - i] = from[k];
      }
      return hn::Load(D(), padded);
    };
    hn::Store(body(load), D(), result);
    for (Index k = i; k < count; ++k) {
      out[k] = result[k - i];
    }
  }
}

// Where Highway's Exp says zero, a NaN stays one; x is at most 88.
HWY_INLINE V exp_of(V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(D(), x));
}

HWY_INLINE V sigmoid(V x) {
  const V one = hn::Set(D(), 1.0F);
  // Highway's Exp is undefined where the result overflows: beyond 88 the quotient is zero. The
  // bound stands first so that a NaN stays one.
  const V bound = hn::Set(D(), 88.0F);
  const V exponent = hn::Neg(x);
  const V result = hn::Div(one, hn::Add(one, hn::Exp(D(), hn::Min(bound, exponent))));
  return hn::IfThenZeroElse(hn::Gt(exponent, bound), result);
}

}  // namespace fathom::cpu::FATHOM_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

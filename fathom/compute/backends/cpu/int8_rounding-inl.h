// Rounding numbers to the 8-bit codes of a block (numeric/int8_blocks.h).

// Not #pragma once: it is included once per target.
#if defined(FATHOM_CPU_INT8_ROUNDING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_INT8_ROUNDING_INL_H_
#undef FATHOM_CPU_INT8_ROUNDING_INL_H_
#else
#define FATHOM_CPU_INT8_ROUNDING_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/numeric/int8_blocks.h"

#if HWY_TARGET == HWY_AVX3_DL
#include <immintrin.h>
#endif

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::FATHOM_NAMESPACE {

// Whole numbers from 0 to 255 as bytes.
HWY_INLINE void store_bytes(V numbers, std::uint8_t* to) {
#if HWY_TARGET == HWY_AVX3_DL
  const __m512i codes = _mm512_cvtps_epi32(numbers.raw);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(codes));
#else
  const hn::Rebind<std::uint8_t, D> d8;
  hn::StoreU(hn::DemoteTo(d8, hn::ConvertTo(hn::RebindToSigned<D>(), numbers)), d8, to);
#endif
}

// As numeric::round_to_int8_block, for a multiple of kWidth numbers. Their multiples of the scale
// are whole numbers so small that their sums are exact.
HWY_INLINE numeric::RoundedBlock round_block(const float* x, Index count, std::uint8_t* codes) {
  V least = hn::Zero(D());
  V most = least;
  bool is_finite = true;
  for (Index i = 0; i < count; i += kWidth) {
    const V value = hn::LoadU(D(), x + i);
    is_finite = is_finite && hn::AllTrue(D(), hn::IsFinite(value));
    least = hn::Min(least, value);
    most = hn::Max(most, value);
  }
  const float smallest = hn::GetLane(hn::MinOfLanes(D(), least));
  const float range = hn::GetLane(hn::MaxOfLanes(D(), most)) - smallest;
  is_finite = is_finite && range <= std::numeric_limits<float>::max();
  if (!is_finite || !(range > numeric::kSmallestInt8Range)) {
    std::fill_n(codes, count, std::uint8_t{0});
    return {is_finite ? 0.0F : std::numeric_limits<float>::quiet_NaN(), 0, 0};
  }
  const V factor = hn::Set(D(), numeric::kInt8CodeRange / range);
  const V first = hn::Round(hn::Mul(hn::Set(D(), smallest), factor));
  V total = hn::Zero(D());
  for (Index i = 0; i < count; i += kWidth) {
    const V multiple = hn::Round(hn::Mul(hn::LoadU(D(), x + i), factor));
    store_bytes(hn::Sub(multiple, first), codes + i);
    total = hn::Add(total, multiple);
  }
  return {range / numeric::kInt8CodeRange, -static_cast<std::int32_t>(hn::GetLane(first)),
          static_cast<std::int32_t>(hn::GetLane(hn::SumOfLanes(D(), total)))};
}

}  // namespace fathom::cpu::FATHOM_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

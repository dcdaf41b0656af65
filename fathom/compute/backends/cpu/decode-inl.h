// Vectorised decoding of weights to fp32, exact as numeric::decode_row.
#if defined(FATHOM_CPU_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_DECODE_INL_H_
#undef FATHOM_CPU_DECODE_INL_H_
#else
#define FATHOM_CPU_DECODE_INL_H_
#endif

#include <cstring>

#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/numeric/weight_format.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::FATHOM_NAMESPACE {

// A register of weights as fp32, of formats that need no scale.
struct F32Weights {
  static constexpr Index kBytes = 4;
  static HWY_INLINE V read(const std::uint8_t* from) {
    return hn::LoadU(D(), reinterpret_cast<const float*>(from));
  }
};
struct F16Weights {
  static constexpr Index kBytes = 2;
  static HWY_INLINE V read(const std::uint8_t* from) {
    const hn::Rebind<hwy::float16_t, D> d16;
    return hn::PromoteTo(D(), hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(from)));
  }
};
struct Bf16Weights {
  static constexpr Index kBytes = 2;
  static HWY_INLINE V read(const std::uint8_t* from) {
    const hn::Rebind<std::uint16_t, D> d16;
    const hn::RebindToUnsigned<D> d32;
    const auto halves = hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(from));
    return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(d32, halves)));
  }
};

// Whole registers of `count` numbers; returns how many were done. The caller decodes the rest.
template <typename Weights>
HWY_INLINE Index decode_floats(const std::uint8_t* from, Index count, float* out) {
  Index i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    hn::StoreU(Weights::read(from + i * Weights::kBytes), D(), out + i);
  }
  return i;
}

// Sign and magnitude of a small float, moved to where fp32 has them, is the number times a power of
// two, subnormals included: E4M3 needs 2^120, E2M1 2^126.
template <int kMagnitudeShift, int kSignShift>
HWY_INLINE V small_float(hn::Vec<hn::RebindToUnsigned<D>> codes,
                         std::uint32_t magnitude_mask,
                         std::uint32_t sign_mask,
                         V factor) {
  const hn::RebindToUnsigned<D> d32;
  const auto magnitude =
      hn::ShiftLeft<kMagnitudeShift>(hn::And(codes, hn::Set(d32, magnitude_mask)));
  const auto sign = hn::ShiftLeft<kSignShift>(hn::And(codes, hn::Set(d32, sign_mask)));
  return hn::Mul(hn::BitCast(D(), hn::Or(magnitude, sign)), factor);
}

// `from` holds E4M3 codes that share one scale.
HWY_INLINE Index decode_e4m3(const std::uint8_t* from, Index count, float scale, float* out) {
  const hn::Rebind<std::uint8_t, D> d8;
  const hn::RebindToUnsigned<D> d32;
  const V factor = hn::Set(D(), 0x1p120F);
  const V scales = hn::Set(D(), scale);
  Index i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    const auto codes = hn::PromoteTo(d32, hn::LoadU(d8, from + i));
    const V numbers = hn::Mul(small_float<20, 24>(codes, 0x7f, 0x80, factor), scales);
    const auto most = hn::Set(d32, 0x7f);  // E4M3's only NaN
    const auto is_nan = hn::RebindMask(D(), hn::Eq(hn::And(codes, most), most));
    hn::StoreU(hn::IfThenElse(is_nan, hn::NaN(D()), numbers), D(), out + i);
  }
  return i;
}

// 16 E2M1 codes in 16 bytes' low or high nibbles, in the order of the bytes. Codes are decoded to
// twice their value and multiplied by half their scale, which is finite where the scale is not.
template <int kShift>
HWY_INLINE void decode_nibbles(const std::uint8_t* from, float half_scale, float* out) {
  const hn::Rebind<std::uint8_t, D> d8;
  const hn::RebindToUnsigned<D> d32;
  const V scales = hn::Set(D(), half_scale);
  for (Index i = 0; i < 16; i += kWidth) {
    const auto codes = hn::ShiftRight<kShift>(hn::PromoteTo(d32, hn::LoadU(d8, from + i)));
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
    // A table, because subnormal factors cost Intel's processors 150 cycles each.
    alignas(64) static constexpr float kTwiceE2m1[16] = {0,     1,  2,  3,  4,  6,  8,  12,
                                                         -0.0F, -1, -2, -3, -4, -6, -8, -12};
    const auto indices = hn::BitCast(hn::RebindToSigned<D>(), hn::And(codes, hn::Set(d32, 15)));
    const V numbers =
        hn::TableLookupLanes(hn::Load(D(), kTwiceE2m1), hn::IndicesFromVec(D(), indices));
#else
    const V numbers = small_float<22, 28>(codes, 0x7, 0x8, hn::Set(D(), 0x1p127F));
#endif
    hn::StoreU(hn::Mul(numbers, scales), D(), out + i);
  }
}

// 32 codes in 16 bytes, adjacent: byte j has columns 2j (low) and 2j + 1 (high).
HWY_INLINE void decode_fp4_block(const std::uint8_t* from, float half_scale, float* out) {
  HWY_ALIGN float low[16];
  HWY_ALIGN float high[16];
  decode_nibbles<0>(from, half_scale, low);
  decode_nibbles<4>(from, half_scale, high);
#if HWY_TARGET == HWY_SCALAR
  for (Index i = 0; i < 16; ++i) {
    out[2 * i] = low[i];
    out[2 * i + 1] = high[i];
  }
#else
  for (Index i = 0; i < 16; i += kWidth) {
    hn::StoreInterleaved2(hn::Load(D(), low + i), hn::Load(D(), high + i), D(), out + 2 * i);
  }
#endif
}

HWY_INLINE void decode_q8_0_block(const std::uint8_t* from, float* out) {
  const hn::Rebind<std::int8_t, D> d8;
  const hn::RebindToSigned<D> d32;
  std::uint16_t scale_bits;
  std::memcpy(&scale_bits, from, sizeof(scale_bits));
  const V scales = hn::Set(D(), numeric::f16_to_float(scale_bits));
  for (Index i = 0; i < 32; i += kWidth) {
    const auto codes = hn::LoadU(d8, reinterpret_cast<const std::int8_t*>(from + 2 + i));
    hn::StoreU(hn::Mul(hn::ConvertTo(D(), hn::PromoteTo(d32, codes)), scales), D(), out + i);
  }
}

// scale * nibble + minimum of 16 bytes' low or high nibbles, in the order of the bytes. The product
// is exact (11 and 4 bits), so fusing the sum would change nothing.
template <int kShift>
HWY_INLINE void decode_scaled_nibbles(const std::uint8_t* from,
                                      float scale,
                                      float minimum,
                                      float* out) {
  const hn::Rebind<std::uint8_t, D> d8;
  const hn::RebindToSigned<D> d32;
  const V scales = hn::Set(D(), scale);
  const V minima = hn::Set(D(), minimum);
  for (Index i = 0; i < 16; i += kWidth) {
    const auto bytes = hn::ShiftRight<kShift>(hn::PromoteTo(d32, hn::LoadU(d8, from + i)));
    const V codes = hn::ConvertTo(D(), hn::And(bytes, hn::Set(d32, 15)));
    hn::StoreU(hn::Add(hn::Mul(codes, scales), minima), D(), out + i);
  }
}

HWY_INLINE void decode_q4_1_block(const std::uint8_t* from, float* out) {
  std::uint16_t bits[2];
  std::memcpy(bits, from, sizeof(bits));
  const float scale = numeric::f16_to_float(bits[0]);
  const float minimum = numeric::f16_to_float(bits[1]);
  decode_scaled_nibbles<0>(from + 4, scale, minimum, out);
  decode_scaled_nibbles<4>(from + 4, scale, minimum, out + 16);
}

// What lies at `column` of a row, for formats of one byte and more per number.
HWY_INLINE const std::uint8_t* bytes_at(const numeric::WeightView& view,
                                        Index row,
                                        Index column_bytes) {
  return reinterpret_cast<const std::uint8_t*>(view.data) + row * view.row_stride_bytes +
         column_bytes;
}

// The E8M0 scale at a place of the matrix of scales; 2^0 without scales.
HWY_INLINE int scale_code_at(const numeric::WeightView& view, Index scale_row, Index scale_column) {
  if (view.scale_format == numeric::ScaleFormat::None) {
    return 127;
  }
  return std::to_integer<int>(view.scales[scale_row * view.scale_row_stride_bytes + scale_column]);
}

// Of the tile of FP8 that a number lies in.
HWY_INLINE int fp8_scale_code(const numeric::WeightView& view, Index row, Index column) {
  return scale_code_at(view, (view.first_row + row) / numeric::kFp8TileRows,
                       column / numeric::kFp8TileColumns);
}

// Scales of FP8 with which no number leaves the normal ones of BF16 and fp32.
HWY_INLINE bool is_plain_fp8_scale(int code) {
  return code >= 10 && code <= 246;
}

// Asks for a row's bytes of some columns: the processor does not see by itself that the next chunk
// of every row is read after this one.
HWY_INLINE void fetch_chunk(const numeric::WeightView& view, Index row, Index first, Index count) {
  const auto& format = numeric::info(view.format);
  const std::uint8_t* bytes =
      bytes_at(view, row, first / format.block_columns * format.block_bytes);
  const Index num_bytes = ceil_div(count, format.block_columns) * format.block_bytes;
  for (Index at = 0; at < num_bytes; at += kLineBytes) {
    fetch_ahead(bytes + at);
  }
}

// As numeric::decode_row, faster for the formats that models are mostly stored in. `first` is a
// multiple of 256.
HWY_INLINE void decode_chunk(
    const numeric::WeightView& view, Index row, Index first, Index count, float* out) {
  using numeric::WeightFormat;
  if (view.layout != numeric::WeightLayout::Rows) {
    return numeric::decode_row(view, row, first, count, out);
  }
  switch (view.format) {
    case WeightFormat::F32:
      std::memcpy(out, bytes_at(view, row, 4 * first), to_size(4 * count));
      return;
    case WeightFormat::F16: {
      const Index done = decode_floats<F16Weights>(bytes_at(view, row, 2 * first), count, out);
      numeric::decode_row(view, row, first + done, count - done, out + done);
      return;
    }
    case WeightFormat::BF16: {
      const Index done = decode_floats<Bf16Weights>(bytes_at(view, row, 2 * first), count, out);
      numeric::decode_row(view, row, first + done, count - done, out + done);
      return;
    }
    case WeightFormat::Fp8:
      for (Index tile = 0; tile < count; tile += numeric::kFp8TileColumns) {
        const Index columns = HWY_MIN(numeric::kFp8TileColumns, count - tile);
        const float scale = numeric::scale_at(view, row, first + tile);
        const Index done =
            decode_e4m3(bytes_at(view, row, first + tile), columns, scale, out + tile);
        numeric::decode_row(view, row, first + tile + done, columns - done, out + tile + done);
      }
      return;
    case WeightFormat::Fp4:
      for (Index block = 0; block < count; block += 32) {
        decode_fp4_block(bytes_at(view, row, (first + block) / 2),
                         0.5F * numeric::scale_at(view, row, first + block), out + block);
      }
      return;
    case WeightFormat::Mxfp4:
      for (Index block = 0; block < count; block += 32) {
        const std::uint8_t* bytes = bytes_at(view, row, (first + block) / 32 * 17);
        const float half_scale = numeric::mxfp4_half_scale(bytes[0]);
        decode_nibbles<0>(bytes + 1, half_scale, out + block);
        decode_nibbles<4>(bytes + 1, half_scale, out + block + 16);
      }
      return;
    case WeightFormat::Q8_0:
      for (Index block = 0; block < count; block += 32) {
        decode_q8_0_block(bytes_at(view, row, (first + block) / 32 * 34), out + block);
      }
      return;
    case WeightFormat::Q4_1:
      for (Index block = 0; block < count; block += 32) {
        decode_q4_1_block(bytes_at(view, row, (first + block) / 32 * 20), out + block);
      }
      return;
    default:
      numeric::decode_row(view, row, first, count, out);
  }
}

}  // namespace fathom::cpu::FATHOM_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

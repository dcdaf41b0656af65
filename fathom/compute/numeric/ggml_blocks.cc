#include "fathom/compute/numeric/ggml_blocks.h"

#include <bit>

#include "fathom/compute/numeric/small_floats.h"

namespace fathom::numeric {
namespace ggml {
namespace {

float read_f16(const std::uint8_t* bytes) {
  return f16_to_float(read_u16(bytes));
}

// Bit `position` of a little-endian bit string.
int bit_at(const std::uint8_t* bytes, int position) {
  return bytes[position / 8] >> (position % 8) & 1;
}

// The eight 6-bit scales and minima of Q4_K and Q5_K in 12 bytes: four scales, four minima, then
// for the other four of each the low nibbles (scale low, minimum high), their two upper bits being
// the upper bits of the first eight bytes.
struct ScalesAndMinima {
  float scales[8];
  float minima[8];
};

ScalesAndMinima unpack_scales(const std::uint8_t* packed) {
  ScalesAndMinima result{};
  for (int j = 0; j < 4; ++j) {
    const int low = packed[j];
    const int high = packed[j + 4];
    const int nibbles = packed[j + 8];
    result.scales[j] = static_cast<float>(low & 63);
    result.minima[j] = static_cast<float>(high & 63);
    result.scales[j + 4] = static_cast<float>((nibbles & 15) | (low >> 2 & 48));
    result.minima[j + 4] = static_cast<float>(nibbles >> 4 | (high >> 2 & 48));
  }
  return result;
}

}  // namespace

// f16 scale, 16 bytes: column j low, column j + 16 high.
void decode_q4_0(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>((block[2 + j] & 15) - 8);
    out[j + 16] = scale * static_cast<float>((block[2 + j] >> 4) - 8);
  }
}

// f16 scale, f16 minimum, nibbles as Q4_0.
void decode_q4_1(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  const float minimum = read_f16(block + 2);
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>(block[4 + j] & 15) + minimum;
    out[j + 16] = scale * static_cast<float>(block[4 + j] >> 4) + minimum;
  }
}

// f16 scale, 32 fifth bits, nibbles as Q4_0.
void decode_q5_0(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  const std::uint8_t* high = block + 2;
  const std::uint8_t* low = block + 6;
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>(((low[j] & 15) | bit_at(high, j) << 4) - 16);
    out[j + 16] = scale * static_cast<float>((low[j] >> 4 | bit_at(high, j + 16) << 4) - 16);
  }
}

// f16 scale, f16 minimum, 32 fifth bits, nibbles as Q4_0.
void decode_q5_1(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  const float minimum = read_f16(block + 2);
  const std::uint8_t* high = block + 4;
  const std::uint8_t* low = block + 8;
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>((low[j] & 15) | bit_at(high, j) << 4) + minimum;
    out[j + 16] = scale * static_cast<float>(low[j] >> 4 | bit_at(high, j + 16) << 4) + minimum;
  }
}

// f16 scale, 32 signed bytes.
void decode_q8_0(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  for (int j = 0; j < 32; ++j) {
    out[j] = static_cast<float>(static_cast<std::int8_t>(block[2 + j])) * scale;
  }
}

// 16 bytes of scale (low) and minimum (high) per 16 columns, 64 bytes of 2-bit codes (columns
// k, k + 32, k + 64, k + 96 of each half in one byte), f16 scale of scales, f16 scale of minima.
void decode_q2_k(const std::uint8_t* block, float* out) noexcept {
  const std::uint8_t* codes = block + 16;
  const float scale = read_f16(block + 80);
  const float minimum = read_f16(block + 82);
  for (int group = 0; group < 16; ++group) {
    const float group_scale = scale * static_cast<float>(block[group] & 15);
    const float group_minimum = minimum * static_cast<float>(block[group] >> 4);
    const std::uint8_t* bytes = codes + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int j = 0; j < 16; ++j) {
      out[group * 16 + j] = group_scale * static_cast<float>(bytes[j] >> shift & 3) - group_minimum;
    }
  }
}

// 32 bytes of third bits (bit i of byte k: column 32 i + k; a clear bit subtracts 4), 64 bytes of
// codes as Q2_K, 16 6-bit scales in 12 bytes (low nibbles, then upper bits), f16 scale.
void decode_q3_k(const std::uint8_t* block, float* out) noexcept {
  const std::uint8_t* codes = block + 32;
  const std::uint8_t* scales = block + 96;
  const float scale = read_f16(block + 108);
  for (int group = 0; group < 16; ++group) {
    const int low = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
    const int high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float group_scale = scale * static_cast<float>((low | high << 4) - 32);
    const std::uint8_t* bytes = codes + group / 8 * 32 + group % 2 * 16;
    const std::uint8_t* masks = block + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int j = 0; j < 16; ++j) {
      const int offset = (masks[j] >> (group / 2) & 1) != 0 ? 0 : 4;
      out[group * 16 + j] = group_scale * static_cast<float>((bytes[j] >> shift & 3) - offset);
    }
  }
}

// f16 scale of scales, f16 scale of minima, 12 bytes of both, 128 bytes of nibbles: each 32 bytes
// hold 32 columns low and the next 32 high.
void decode_q4_k(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  const float minimum = read_f16(block + 2);
  const ScalesAndMinima unpacked = unpack_scales(block + 4);
  for (int group = 0; group < 8; ++group) {
    const float group_scale = scale * unpacked.scales[group];
    const float group_minimum = minimum * unpacked.minima[group];
    const std::uint8_t* bytes = block + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      out[group * 32 + j] =
          group_scale * static_cast<float>(bytes[j] >> shift & 15) - group_minimum;
    }
  }
}

// As Q4_K with 32 bytes of fifth bits (bit i of byte k: column 32 i + k) before the nibbles.
void decode_q5_k(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  const float minimum = read_f16(block + 2);
  const ScalesAndMinima unpacked = unpack_scales(block + 4);
  const std::uint8_t* high = block + 16;
  for (int group = 0; group < 8; ++group) {
    const float group_scale = scale * unpacked.scales[group];
    const float group_minimum = minimum * unpacked.minima[group];
    const std::uint8_t* bytes = block + 48 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int j = 0; j < 32; ++j) {
      const int code = (bytes[j] >> shift & 15) | (high[j] >> group & 1) << 4;
      out[group * 32 + j] = group_scale * static_cast<float>(code) - group_minimum;
    }
  }
}

// 128 bytes of low nibbles (each 64 bytes: 64 columns low, the next 64 high), 64 bytes of upper
// bits as Q2_K's codes, 16 signed scales, f16 scale.
void decode_q6_k(const std::uint8_t* block, float* out) noexcept {
  const std::uint8_t* scales = block + 192;
  const float scale = read_f16(block + 208);
  for (int group = 0; group < 16; ++group) {
    const float group_scale = scale * static_cast<float>(static_cast<std::int8_t>(scales[group]));
    const int half = group / 8;
    const int quarter = group % 8 / 2;  // of the half
    const std::uint8_t* low = block + half * 64 + quarter % 2 * 32 + group % 2 * 16;
    const std::uint8_t* high = block + 128 + half * 32 + group % 2 * 16;
    for (int j = 0; j < 16; ++j) {
      const int code = (low[j] >> (quarter / 2 * 4) & 15) | (high[j] >> (quarter * 2) & 3) << 4;
      out[group * 16 + j] = group_scale * static_cast<float>(code - 32);
    }
  }
}

// Five ternary digits per byte (48 bytes), then four per byte (4 bytes), most significant first, as
// a fraction of 256: multiplying by 3 moves the next digit above bit 8. f16 scale.
void decode_tq1_0(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block + 52);
  const auto decode = [&](const std::uint8_t* bytes, int num_bytes, int num_digits) {
    int power = 1;
    for (int digit = 0; digit < num_digits; ++digit, power *= 3) {
      for (int j = 0; j < num_bytes; ++j) {
        const int rest = bytes[j] * power & 255;
        *out++ = scale * static_cast<float>((rest * 3 >> 8) - 1);
      }
    }
  };
  decode(block, 32, 5);
  decode(block + 32, 16, 5);
  decode(block + 48, 4, 4);
}

// 64 bytes of 2-bit codes as Q2_K, f16 scale.
void decode_tq2_0(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block + 64);
  for (int group = 0; group < 8; ++group) {
    const std::uint8_t* bytes = block + group / 4 * 32;
    for (int j = 0; j < 32; ++j) {
      out[group * 32 + j] = scale * static_cast<float>((bytes[j] >> (group % 4 * 2) & 3) - 1);
    }
  }
}

// E8M0 scale, nibbles as Q4_0. The table is twice E2M1 and the scale is halved; minus zero is zero
// and 255 is no NaN: ggml's reading.
void decode_mxfp4(const std::uint8_t* block, float* out) noexcept {
  constexpr float kTwiceE2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const float half_scale = mxfp4_half_scale(block[0]);
  for (int j = 0; j < 16; ++j) {
    out[j] = half_scale * kTwiceE2m1[block[1 + j] & 15];
    out[j + 16] = half_scale * kTwiceE2m1[block[1 + j] >> 4];
  }
}

}  // namespace ggml

BlockDecoder block_decoder(WeightFormat format) noexcept {
  switch (format) {
    case WeightFormat::F32:
    case WeightFormat::F16:
    case WeightFormat::BF16:
    case WeightFormat::Fp8:
    case WeightFormat::Fp4:
      return nullptr;
    case WeightFormat::Mxfp4:
      return &ggml::decode_mxfp4;
    case WeightFormat::Q4_0:
      return &ggml::decode_q4_0;
    case WeightFormat::Q4_1:
      return &ggml::decode_q4_1;
    case WeightFormat::Q5_0:
      return &ggml::decode_q5_0;
    case WeightFormat::Q5_1:
      return &ggml::decode_q5_1;
    case WeightFormat::Q8_0:
      return &ggml::decode_q8_0;
    case WeightFormat::Q2_K:
      return &ggml::decode_q2_k;
    case WeightFormat::Q3_K:
      return &ggml::decode_q3_k;
    case WeightFormat::Q4_K:
      return &ggml::decode_q4_k;
    case WeightFormat::Q5_K:
      return &ggml::decode_q5_k;
    case WeightFormat::Q6_K:
      return &ggml::decode_q6_k;
    case WeightFormat::TQ1_0:
      return &ggml::decode_tq1_0;
    case WeightFormat::TQ2_0:
      return &ggml::decode_tq2_0;
    case WeightFormat::IQ1_S:
      return &ggml::decode_iq1_s;
    case WeightFormat::IQ1_M:
      return &ggml::decode_iq1_m;
    case WeightFormat::IQ2_XXS:
      return &ggml::decode_iq2_xxs;
    case WeightFormat::IQ2_XS:
      return &ggml::decode_iq2_xs;
    case WeightFormat::IQ2_S:
      return &ggml::decode_iq2_s;
    case WeightFormat::IQ3_XXS:
      return &ggml::decode_iq3_xxs;
    case WeightFormat::IQ3_S:
      return &ggml::decode_iq3_s;
    case WeightFormat::IQ4_NL:
      return &ggml::decode_iq4_nl;
    case WeightFormat::IQ4_XS:
      return &ggml::decode_iq4_xs;
  }
  return nullptr;
}

}  // namespace fathom::numeric

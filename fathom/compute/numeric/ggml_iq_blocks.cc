// ggml's formats with code books: a code selects a row of a grid of magnitudes.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "fathom/compute/numeric/ggml_blocks.h"
#include "fathom/compute/numeric/iq_grids.h"
#include "fathom/compute/numeric/small_floats.h"

namespace fathom::numeric::ggml {
namespace {

float read_f16(const std::uint8_t* bytes) {
  return f16_to_float(read_u16(bytes));
}

int nibble_at(const std::uint8_t* bytes, int position) {
  return bytes[position / 2] >> (position % 2 * 4) & 15;
}

// Seven stored sign bits make eight: the number of minus signs is even.
unsigned complete_signs(unsigned seven) {
  unsigned parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | (parity & 1U) << 7;
}

// out[j] = scale * row[j], negated where bit j of signs is set. The sign is flipped in the bits: a
// branch on random signs would cost ten times the arithmetic.
template <std::size_t kElements>
void write_signed(float scale,
                  const std::array<std::int8_t, kElements>& row,
                  std::uint32_t signs,
                  float* out) {
  for (std::size_t j = 0; j < kElements; ++j) {
    const float magnitude = scale * static_cast<float>(row[j]);
    out[j] =
        std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) ^ (signs >> j & 1U) << 31);
  }
}

// out[j] = scale * (row[j] + delta), eight columns.
void write_shifted(float scale, unsigned row, bool is_negative, float* out) {
  const float delta = is_negative ? -0.125F : 0.125F;
  for (std::size_t j = 0; j < 8; ++j) {
    out[j] = scale * (static_cast<float>(kIq1SGrid[row][j]) + delta);
  }
}

}  // namespace

// f16 scale, then per 32 columns: four grid rows, and 32 bits: 4 times 7 signs, 4 of scale.
void decode_iq2_xxs(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  for (int group = 0; group < 8; ++group) {
    const std::uint8_t* codes = block + 2 + group * 8;
    const std::uint32_t packed = read_u32(codes + 4);
    const float group_scale = scale * (0.5F + static_cast<float>(packed >> 28)) * 0.25F;
    for (int part = 0; part < 4; ++part) {
      write_signed(group_scale, kIq2XxsGrid[codes[part]],
                   complete_signs(packed >> (7 * part) & 127U), out + group * 32 + part * 8);
    }
  }
}

// f16 scale, 32 codes of 16 bits (9 of grid row, 7 of signs) for 8 columns each, a nibble of scale
// per 16 columns.
void decode_iq2_xs(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  for (int part = 0; part < 32; ++part) {
    const unsigned code = read_u16(block + 2 + part * 2);
    const auto nibble = static_cast<float>(nibble_at(block + 66, part / 2));
    write_signed(scale * (0.5F + nibble) * 0.25F, kIq2XsGrid[code & 511U],
                 complete_signs(code >> 9), out + part * 8);
  }
}

// f16 scale, 32 bytes of grid rows, 32 bytes of signs, 8 bytes with two upper bits of each row, a
// nibble of scale per 16 columns.
void decode_iq2_s(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  for (int part = 0; part < 32; ++part) {
    const auto high = static_cast<unsigned>(block[66 + part / 4] >> (part % 4 * 2) & 3);
    const auto nibble = static_cast<float>(nibble_at(block + 74, part / 2));
    write_signed(scale * (0.5F + nibble) * 0.25F, kIq2SGrid[block[2 + part] | high << 8],
                 block[34 + part], out + part * 8);
  }
}

// f16 scale, 64 bytes of grid rows of 4 columns, then per 32 columns 32 bits as IQ2_XXS.
void decode_iq3_xxs(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  for (int group = 0; group < 8; ++group) {
    const std::uint32_t packed = read_u32(block + 66 + group * 4);
    const float group_scale = scale * (0.5F + static_cast<float>(packed >> 28)) * 0.5F;
    for (int part = 0; part < 8; ++part) {
      const unsigned signs = complete_signs(packed >> (7 * (part / 2)) & 127U);
      write_signed(group_scale, kIq3XxsGrid[block[2 + group * 8 + part]], signs >> (part % 2 * 4),
                   out + group * 32 + part * 4);
    }
  }
}

// f16 scale, 64 bytes of grid rows of 4 columns, 8 bytes with the ninth bit of each row, 32 bytes
// of signs, a nibble of scale per 32 columns.
void decode_iq3_s(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  for (int part = 0; part < 64; ++part) {
    const auto high = static_cast<unsigned>(block[66 + part / 8] >> (part % 8) & 1);
    const unsigned signs = block[74 + part / 2];
    const int nibble = nibble_at(block + 106, part / 8);
    write_signed(scale * static_cast<float>(1 + 2 * nibble), kIq3SGrid[block[2 + part] | high << 8],
                 signs >> (part % 2 * 4), out + part * 4);
  }
}

// f16 scale, 32 bytes of grid rows, then per 32 columns 16 bits: 3 upper bits of each of four rows,
// 3 of scale, the sign of the shift.
void decode_iq1_s(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  for (int group = 0; group < 8; ++group) {
    const unsigned packed = read_u16(block + 34 + group * 2);
    const float group_scale = scale * static_cast<float>(2 * (packed >> 12 & 7U) + 1);
    for (int part = 0; part < 4; ++part) {
      const unsigned row = block[2 + group * 4 + part] | (packed >> (3 * part) & 7U) << 8;
      write_shifted(group_scale, row, (packed & 0x8000U) != 0, out + group * 32 + part * 8);
    }
  }
}

// 32 bytes of grid rows, a nibble for each (3 upper bits, the sign of the shift), then four times
// 16 bits: 4 times 3 of scale per 16 columns, and a nibble of the f16 scale, the lowest first.
void decode_iq1_m(const std::uint8_t* block, float* out) noexcept {
  const std::uint8_t* scales = block + 48;
  unsigned scale_bits = 0;
  for (int j = 0; j < 4; ++j) {
    scale_bits |= static_cast<unsigned>(read_u16(scales + j * 2) >> 12) << (4 * j);
  }
  const float scale = f16_to_float(static_cast<std::uint16_t>(scale_bits));
  for (int part = 0; part < 32; ++part) {
    const int group = part / 2;
    const int code = read_u16(scales + group / 4 * 2) >> (group % 4 * 3) & 7;
    const auto high = static_cast<unsigned>(nibble_at(block + 32, part));
    write_shifted(scale * static_cast<float>(2 * code + 1), block[part] | (high & 7U) << 8,
                  (high & 8U) != 0, out + part * 8);
  }
}

// f16 scale, nibbles as Q4_0, values from a table.
void decode_iq4_nl(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  for (int j = 0; j < 16; ++j) {
    out[j] = scale * static_cast<float>(kIq4Codes[block[2 + j] & 15]);
    out[j + 16] = scale * static_cast<float>(kIq4Codes[block[2 + j] >> 4]);
  }
}

// f16 scale, 8 times 2 upper bits and 8 nibbles of scales, then per 32 columns 16 bytes as IQ4_NL.
void decode_iq4_xs(const std::uint8_t* block, float* out) noexcept {
  const float scale = read_f16(block);
  const int high = read_u16(block + 2);
  for (int group = 0; group < 8; ++group) {
    const int code = nibble_at(block + 4, group) | (high >> (2 * group) & 3) << 4;
    const float group_scale = scale * static_cast<float>(code - 32);
    const std::uint8_t* codes = block + 8 + group * 16;
    for (int j = 0; j < 16; ++j) {
      out[group * 32 + j] = group_scale * static_cast<float>(kIq4Codes[codes[j] & 15]);
      out[group * 32 + j + 16] = group_scale * static_cast<float>(kIq4Codes[codes[j] >> 4]);
    }
  }
}

}  // namespace fathom::numeric::ggml

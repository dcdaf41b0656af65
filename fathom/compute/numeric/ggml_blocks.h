// Decoding one block of each of ggml's block formats to fp32.
//
// The values are those of PyPI gguf's dequantisers, bit for bit: the same products and sums in fp32
// in the same order. The layouts are described where the bytes are taken apart.
#pragma once

#include <array>
#include <cstdint>

#include "fathom/compute/numeric/weight_format.h"

namespace fathom::numeric {

// Writes info(format).block_columns numbers from the info(format).block_bytes bytes at `block`.
using BlockDecoder = void (*)(const std::uint8_t* block, float* out) noexcept;

// Null for formats that are not ggml blocks.
BlockDecoder block_decoder(WeightFormat format) noexcept;

// What the nibbles of IQ4_NL and IQ4_XS stand for.
inline constexpr std::array<std::int8_t, 16> kIq4Codes = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                          1,    13,   25,  38,  53,  69,  89,  113};

// The largest block_columns of a format that has a block decoder.
inline constexpr Index kMostBlockColumns = 256;

namespace ggml {

void decode_q4_0(const std::uint8_t* block, float* out) noexcept;
void decode_q4_1(const std::uint8_t* block, float* out) noexcept;
void decode_q5_0(const std::uint8_t* block, float* out) noexcept;
void decode_q5_1(const std::uint8_t* block, float* out) noexcept;
void decode_q8_0(const std::uint8_t* block, float* out) noexcept;
void decode_q2_k(const std::uint8_t* block, float* out) noexcept;
void decode_q3_k(const std::uint8_t* block, float* out) noexcept;
void decode_q4_k(const std::uint8_t* block, float* out) noexcept;
void decode_q5_k(const std::uint8_t* block, float* out) noexcept;
void decode_q6_k(const std::uint8_t* block, float* out) noexcept;
void decode_tq1_0(const std::uint8_t* block, float* out) noexcept;
void decode_tq2_0(const std::uint8_t* block, float* out) noexcept;
void decode_mxfp4(const std::uint8_t* block, float* out) noexcept;
void decode_iq1_s(const std::uint8_t* block, float* out) noexcept;
void decode_iq1_m(const std::uint8_t* block, float* out) noexcept;
void decode_iq2_xxs(const std::uint8_t* block, float* out) noexcept;
void decode_iq2_xs(const std::uint8_t* block, float* out) noexcept;
void decode_iq2_s(const std::uint8_t* block, float* out) noexcept;
void decode_iq3_xxs(const std::uint8_t* block, float* out) noexcept;
void decode_iq3_s(const std::uint8_t* block, float* out) noexcept;
void decode_iq4_nl(const std::uint8_t* block, float* out) noexcept;
void decode_iq4_xs(const std::uint8_t* block, float* out) noexcept;

// Little-endian reads from any address.
inline std::uint16_t read_u16(const std::uint8_t* bytes) noexcept {
  return static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8);
}
inline std::uint32_t read_u32(const std::uint8_t* bytes) noexcept {
  return read_u16(bytes) | static_cast<std::uint32_t>(read_u16(bytes + 2)) << 16;
}

}  // namespace ggml
}  // namespace fathom::numeric

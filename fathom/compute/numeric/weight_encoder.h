// Encoding fp32 numbers as weights are stored in official checkpoints.
//
// Rounding is to nearest, ties to even. FP4 and FP8 blocks have the scales that the published code
// gives activations (architecture specification 3.8): the power of two that is just large enough
// for the block's largest magnitude, so that nothing is clipped. What was decoded encodes to the
// same numbers again.
#pragma once

#include <cstddef>

#include "fathom/compute/numeric/weight_format.h"

namespace fathom::numeric {

// Rows of one matrix with their scales, to be filled. Fp8 blocks start at a row of tiles.
struct EncodedRows {
  WeightFormat format;
  ScaleFormat scale_format = ScaleFormat::None;
  Index rows;
  Index columns;  // a multiple of the format's block, of kFp4ScaleColumns for Fp4
  std::byte* data;
  std::byte* scales = nullptr;  // of these rows only

  WeightView view() const;
};

// Bytes of the scales of `rows` rows; 0 for a format without separate scales.
Index scale_bytes(WeightFormat format, ScaleFormat scale_format, Index rows, Index columns);

// The formats that encode_rows knows: F32, F16, BF16, Fp8, Fp4.
bool can_encode(WeightFormat format);

// numbers [rows, columns], row after row. A NaN or infinity stays one where the format has such
// (F16 beyond its range too) and otherwise makes the scale of its block a NaN.
void encode_rows(const float* numbers, const EncodedRows& out) noexcept;

}  // namespace fathom::numeric

// How a matrix of weights is stored, and decoding it to numbers.
//
// Every format decodes exactly as its definition says: for the official formats the result is exact
// in fp32 (power-of-two scales), for ggml's block formats it is the fp32 value that PyPI gguf's
// dequantisers give, bit for bit.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "fathom/base/core/index.h"

namespace fathom::numeric {

enum class WeightFormat {
  F32,
  F16,
  BF16,
  Fp8,    // E4M3, one scale per tile of 128 x 128 in a matrix of its own (official checkpoints)
  Fp4,    // E2M1, two per byte in adjacent columns (low nibble first), E8M0 scale per 32 columns
  Mxfp4,  // ggml's block of 17 bytes: E8M0, then column j low, column j + 16 high
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  TQ1_0,
  TQ2_0,
  IQ1_S,
  IQ1_M,
  IQ2_XXS,
  IQ2_XS,
  IQ2_S,
  IQ3_XXS,
  IQ3_S,
  IQ4_NL,
  IQ4_XS,
};

enum class ScaleFormat { None, E8M0, F32 };

// Row after row, as in files; or 16 rows interleaved (numeric/weight_panels.h).
enum class WeightLayout { Rows, Panels };
inline constexpr Index kPanelRows = 16;

struct WeightFormatInfo {
  WeightFormat format;
  std::string_view name;
  Index block_columns;  // columns that one block of bytes holds
  Index block_bytes;
};

const WeightFormatInfo& info(WeightFormat format);  // the one table
std::string_view to_string(WeightFormat format);
std::optional<WeightFormat> weight_format_from_name(std::string_view name);

// Bytes of one row of `columns` columns, without separate scales. Throws nothing; columns must be a
// multiple of block_columns.
Index row_bytes(WeightFormat format, Index columns);

// A matrix [rows, columns] of weights in memory that someone else owns. Data need not be aligned.
struct WeightView {
  WeightFormat format = WeightFormat::F32;
  Index rows = 0;
  Index columns = 0;
  const std::byte* data = nullptr;
  Index row_stride_bytes = 0;  // of panels: a 16th of one
  // Separate scales (Fp8: one per tile of 128 x 128; Fp4: one per row and 32 columns).
  ScaleFormat scale_format = ScaleFormat::None;
  const std::byte* scales = nullptr;
  Index scale_row_stride_bytes = 0;
  Index first_row = 0;  // of the matrix the scales belong to: a slice keeps its tiles
  WeightLayout layout = WeightLayout::Rows;

  // Rows [first, first + count); of panels, `first` is a multiple of 16.
  WeightView slice_rows(Index first, Index count) const;
};

inline constexpr Index kFp8TileRows = 128;
inline constexpr Index kFp8TileColumns = 128;
inline constexpr Index kFp4ScaleColumns = 32;

// The separate scale (Fp8, Fp4) that applies to a number of the view.
float scale_at(const WeightView& view, Index row, Index column) noexcept;

// out[i] = weight[row, first_column + i], i in [0, count). first_column and count are multiples of
// the format's block_columns. Real is float or double.
template <typename Real>
void decode_row(
    const WeightView& view, Index row, Index first_column, Index count, Real* out) noexcept;

// The first scale in the view's rows that is NaN (or infinite), as its row and column in the matrix
// of scales; nothing when all are finite. Formats without separate scales have none.
struct ScalePosition {
  Index row;
  Index column;
};
std::optional<ScalePosition> find_bad_scale(const WeightView& view) noexcept;

}  // namespace fathom::numeric

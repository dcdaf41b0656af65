// Matrices of weights in every format, of random but sane bytes: scales are finite and near 1, so
// that sums stay in range. tools/make_goldens/ggml_blocks.py draws the same with extreme scales.
#pragma once

#include <vector>

#include "fathom/compute/numeric/weight_format.h"

#include "tests/contract/contract.h"

namespace fathom::testing {

using numeric::ScaleFormat;
using numeric::WeightFormat;

// Where a ggml block has its f16 numbers, in bytes. IQ1_M spreads one over its scales.
inline std::vector<Index> f16_places(WeightFormat format) {
  switch (format) {
    case WeightFormat::Q4_1:
    case WeightFormat::Q5_1:
    case WeightFormat::Q4_K:
    case WeightFormat::Q5_K:
      return {0, 2};
    case WeightFormat::Q2_K:
      return {80, 82};
    case WeightFormat::Q3_K:
      return {108};
    case WeightFormat::Q6_K:
      return {208};
    case WeightFormat::TQ1_0:
      return {52};
    case WeightFormat::TQ2_0:
      return {64};
    case WeightFormat::IQ1_M:
    case WeightFormat::Mxfp4:
      return {};
    default:
      return {0};
  }
}

class RandomMatrix {
 public:
  RandomMatrix(Random& random, WeightFormat format, Index rows, Index columns, ScaleFormat scales)
      : format_(format), rows_(rows), columns_(columns), scale_format_(scales) {
    // Rows do not follow each other, and nothing is aligned.
    stride_bytes_ = row_bytes(format, columns) + 3;
    bytes_.assign(to_size(1 + rows * stride_bytes_), std::byte{0xff});
    for (Index row = 0; row < rows; ++row) {
      fill_row(random, bytes_.data() + 1 + row * stride_bytes_);
    }
    fill_scales(random);
  }

  numeric::WeightView view() const {
    numeric::WeightView result;
    result.format = format_;
    result.rows = rows_;
    result.columns = columns_;
    result.data = bytes_.data() + 1;
    result.row_stride_bytes = stride_bytes_;
    result.scale_format = scale_format_;
    result.scales = scales_.data();
    result.scale_row_stride_bytes = scale_stride_bytes_;
    return result;
  }
  void put_byte(Index row, Index at, std::uint8_t byte) {
    bytes_[to_size(1 + row * stride_bytes_ + at)] = std::byte{byte};
  }
  // Of E8M0.
  void put_scale(Index scale_row, Index scale_column, std::uint8_t code) {
    scales_[to_size(scale_row * scale_stride_bytes_ + scale_column)] = std::byte{code};
  }

 private:
  void fill_row(Random& random, std::byte* row) const {
    const auto& info = numeric::info(format_);
    for (Index first = 0; first < columns_; first += info.block_columns) {
      std::byte* block = row + first / info.block_columns * info.block_bytes;
      for (Index i = 0; i < info.block_bytes; ++i) {
        block[i] = random.byte();
      }
      fill_numbers(random, block);
    }
  }

  // Puts sane numbers where random bytes would be NaN or huge.
  void fill_numbers(Random& random, std::byte* block) const {
    const auto put = [&](Index at, auto value) { std::memcpy(block + at, &value, sizeof(value)); };
    switch (format_) {
      case WeightFormat::F32:
        return put(0, random.normal());
      case WeightFormat::BF16:
        return put(0, numeric::float_to_bf16(random.normal()));
      case WeightFormat::F16:
        return put(0, numeric::float_to_f16(random.normal()));
      case WeightFormat::Fp8:
        return put(0, numeric::float_to_e4m3(random.normal()));
      case WeightFormat::Fp4:
        return;
      case WeightFormat::Mxfp4:
        return put(0, static_cast<std::uint8_t>(random.index(122, 130)));
      case WeightFormat::IQ1_M: {
        const std::uint16_t scale = numeric::float_to_f16(random.normal(0.02));
        for (unsigned part = 0; part < 4; ++part) {
          std::byte& high = block[48 + 2 * part + 1];
          high =
              (high & std::byte{0x0f}) | static_cast<std::byte>((scale >> (4 * part) & 15U) << 4U);
        }
        return;
      }
      default:
        for (const Index at : f16_places(format_)) {
          put(at, numeric::float_to_f16(random.normal(0.02)));
        }
    }
  }

  void fill_scales(Random& random) {
    if (scale_format_ == ScaleFormat::None) {
      return;
    }
    const bool is_fp8 = format_ == WeightFormat::Fp8;
    const Index scale_rows = is_fp8 ? ceil_div(rows_, numeric::kFp8TileRows) : rows_;
    const Index scale_columns =
        ceil_div(columns_, is_fp8 ? numeric::kFp8TileColumns : numeric::kFp4ScaleColumns);
    const Index scale_bytes = scale_format_ == ScaleFormat::F32 ? 4 : 1;
    scale_stride_bytes_ = scale_columns * scale_bytes;
    for (Index i = 0; i < scale_rows * scale_columns; ++i) {
      if (scale_format_ == ScaleFormat::E8M0) {
        scales_.push_back(static_cast<std::byte>(random.index(122, 130)));
      } else {
        const float scale = 0.5F + std::abs(random.normal());
        const auto* bytes = reinterpret_cast<const std::byte*>(&scale);
        scales_.insert(scales_.end(), bytes, bytes + 4);
      }
    }
  }

  WeightFormat format_;
  Index rows_;
  Index columns_;
  ScaleFormat scale_format_;
  Index stride_bytes_ = 0;
  Index scale_stride_bytes_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<std::byte> scales_;
};

// Every format with every kind of scales it comes with.
struct Storage {
  WeightFormat format;
  ScaleFormat scales;
};
inline std::vector<Storage> every_storage() {
  std::vector<Storage> all;
  for (int i = 0; i <= static_cast<int>(WeightFormat::IQ4_XS); ++i) {
    const auto format = static_cast<WeightFormat>(i);
    switch (format) {
      case WeightFormat::Fp8:
        all.push_back({format, ScaleFormat::E8M0});
        all.push_back({format, ScaleFormat::F32});
        break;
      case WeightFormat::Fp4:
        all.push_back({format, ScaleFormat::E8M0});
        break;
      default:
        all.push_back({format, ScaleFormat::None});
    }
  }
  return all;
}
inline std::string name_of(const Storage& storage) {
  const std::string name(numeric::to_string(storage.format));
  return storage.scales == ScaleFormat::F32 ? name + "_f32_scales" : name;
}

}  // namespace fathom::testing

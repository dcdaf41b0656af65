#include "fathom/train/optim/matmul.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/train/optim/matmul.cc"
#include <algorithm>

#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fathom::optim::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Product = MatrixProduct<float>;
using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
constexpr Index kWidth = static_cast<Index>(hn::MaxLanes(D()));
// A tile of the result stays in registers: as many rows as leave some for its operands.
constexpr Index kTileRows = kWidth == 16 ? 12 : 6;
constexpr Index kTileRegisters = 2;
constexpr Index kTileColumns = kTileRegisters * kWidth;
// Rows of `right` that a panel holds: with what meets them it stays in the first-level cache.
constexpr Index kPanelRows = 256;

// Columns [first, first + count) of rows [first_inner, last_inner) of `right`, padded with zeros.
struct Panel {
  Index first_column;
  Index count;
  Index first_inner;
  Index last_inner;
  alignas(64) float numbers[kPanelRows * kTileColumns];
};

HWY_INLINE void transpose_4x4(const float* from, Index stride, float* to) {
#if HWY_TARGET == HWY_SCALAR
  for (Index k = 0; k < 4; ++k) {
    for (Index column = 0; column < 4; ++column) {
      to[k * kTileColumns + column] = from[column * stride + k];
    }
  }
#else
  const hn::FixedTag<float, 4> d;
  const auto a = hn::LoadU(d, from);
  const auto b = hn::LoadU(d, from + stride);
  const auto c = hn::LoadU(d, from + 2 * stride);
  const auto e = hn::LoadU(d, from + 3 * stride);
  const auto low_even = hn::InterleaveLower(d, a, c);
  const auto low_odd = hn::InterleaveLower(d, b, e);
  const auto high_even = hn::InterleaveUpper(d, a, c);
  const auto high_odd = hn::InterleaveUpper(d, b, e);
  hn::StoreU(hn::InterleaveLower(d, low_even, low_odd), d, to);
  hn::StoreU(hn::InterleaveUpper(d, low_even, low_odd), d, to + kTileColumns);
  hn::StoreU(hn::InterleaveLower(d, high_even, high_odd), d, to + 2 * kTileColumns);
  hn::StoreU(hn::InterleaveUpper(d, high_even, high_odd), d, to + 3 * kTileColumns);
#endif
}

void pack_transposed(const Product& product, Panel& panel) {
  const Index num_inner = panel.last_inner - panel.first_inner;
  const float* from = product.right + panel.first_column * product.inner + panel.first_inner;
  const Index whole_columns = panel.count / 4 * 4;
  const Index whole_inner = num_inner / 4 * 4;
  for (Index k = 0; k < whole_inner; k += 4) {
    for (Index column = 0; column < whole_columns; column += 4) {
      transpose_4x4(from + column * product.inner + k, product.inner,
                    panel.numbers + k * kTileColumns + column);
    }
  }
  for (Index k = 0; k < num_inner; ++k) {
    for (Index column = k < whole_inner ? whole_columns : 0; column < panel.count; ++column) {
      panel.numbers[k * kTileColumns + column] = from[column * product.inner + k];
    }
  }
}

void pack(const Product& product, Panel& panel) {
  if (panel.count < kTileColumns) {
    std::fill_n(panel.numbers, (panel.last_inner - panel.first_inner) * kTileColumns, 0.0F);
  }
  if (product.right_is_transposed) {
    pack_transposed(product, panel);
    return;
  }
  for (Index k = panel.first_inner; k < panel.last_inner; ++k) {
    std::copy_n(product.right + k * product.columns + panel.first_column, panel.count,
                panel.numbers + (k - panel.first_inner) * kTileColumns);
  }
}

// What goes into a tile before a panel and comes out of it after; of partial tiles, a copy.
struct Tile {
  float* sums;
  Index sums_stride;
  const float* addend;  // null: none
  Index addend_stride;
};

// `addend`: of one register, or null.
HWY_INLINE V scaled_and_added(V sum, const Product& product, const float* addend) {
  const D d;
  const V scaled = hn::Mul(sum, hn::Set(d, product.product_scale));
  return addend == nullptr
             ? scaled
             : hn::MulAdd(hn::Set(d, product.addend_scale), hn::LoadU(d, addend), scaled);
}

template <bool kIsFirst, bool kIsLast>
HWY_INLINE void multiply_tile(const Product& product,
                              const Panel& panel,
                              const float* const* left,
                              const Tile& tile) {
  const D d;
  V sums[kTileRows][kTileRegisters];
  for (Index row = 0; row < kTileRows; ++row) {
    for (Index i = 0; i < kTileRegisters; ++i) {
      sums[row][i] =
          kIsFirst ? hn::Zero(d) : hn::LoadU(d, tile.sums + row * tile.sums_stride + i * kWidth);
    }
  }
  const float* numbers = panel.numbers;
  for (Index k = panel.first_inner; k < panel.last_inner; ++k, numbers += kTileColumns) {
    V right[kTileRegisters];
    for (Index i = 0; i < kTileRegisters; ++i) {
      right[i] = hn::Load(d, numbers + i * kWidth);
    }
    for (Index row = 0; row < kTileRows; ++row) {
      const V factor = hn::Set(d, left[row][k]);
      for (Index i = 0; i < kTileRegisters; ++i) {
        sums[row][i] = hn::MulAdd(factor, right[i], sums[row][i]);
      }
    }
  }
  for (Index row = 0; row < kTileRows; ++row) {
    for (Index i = 0; i < kTileRegisters; ++i) {
      V result = sums[row][i];
      if (kIsLast) {
        const float* addend =
            tile.addend == nullptr ? nullptr : tile.addend + row * tile.addend_stride + i * kWidth;
        result = scaled_and_added(result, product, addend);
      }
      hn::StoreU(result, d, tile.sums + row * tile.sums_stride + i * kWidth);
    }
  }
}

void run_tile(const Product& product,
              const Panel& panel,
              const float* const* left,
              const Tile& tile) {
  const bool is_first = panel.first_inner == 0;
  const bool is_last = panel.last_inner == product.inner;
  if (is_first && is_last) {
    multiply_tile<true, true>(product, panel, left, tile);
  } else if (is_first) {
    multiply_tile<true, false>(product, panel, left, tile);
  } else if (is_last) {
    multiply_tile<false, true>(product, panel, left, tile);
  } else {
    multiply_tile<false, false>(product, panel, left, tile);
  }
}

void copy_rows(
    const float* from, Index from_stride, float* to, Index to_stride, Index rows, Index columns) {
  for (Index row = 0; row < rows; ++row) {
    std::copy_n(from + row * from_stride, columns, to + row * to_stride);
  }
}

// Rows [first_row, ...) of the panel's columns.
void multiply_rows(const Product& product, const Panel& panel, Index first_row) {
  const Index rows = std::min(kTileRows, product.rows - first_row);
  const float* left[kTileRows];
  for (Index row = 0; row < kTileRows; ++row) {
    left[row] = product.left + (first_row + std::min(row, rows - 1)) * product.inner;
  }
  const Index place = first_row * product.columns + panel.first_column;
  float* out = product.out + place;
  const float* addend = product.addend == nullptr ? nullptr : product.addend + place;
  if (rows == kTileRows && panel.count == kTileColumns) {
    run_tile(product, panel, left, {out, product.columns, addend, product.columns});
    return;
  }
  float sums[kTileRows * kTileColumns] = {};
  float added[kTileRows * kTileColumns] = {};
  copy_rows(out, product.columns, sums, kTileColumns, rows, panel.count);
  if (addend != nullptr) {
    copy_rows(addend, product.columns, added, kTileColumns, rows, panel.count);
  }
  run_tile(product, panel, left,
           {sums, kTileColumns, addend == nullptr ? nullptr : added, kTileColumns});
  copy_rows(sums, kTileColumns, out, product.columns, rows, panel.count);
}

void mirror(const Product& product) {
  constexpr Index kBlock = 16;  // rows of one cache line each
  const Index size = product.rows;
  for (Index first = 0; first < size; first += kBlock) {
    const Index last = std::min(first + kBlock, size);
    for (Index row = first; row < size; ++row) {
      for (Index column = first; column < std::min(row, last); ++column) {
        product.out[column * size + row] = product.out[row * size + column];
      }
    }
  }
}

}  // namespace

void multiply_all(const Product& product) {
  Panel panel;
  for (Index column = 0; column < product.columns; column += kTileColumns) {
    panel.first_column = column;
    panel.count = std::min(kTileColumns, product.columns - column);
    // Of a symmetric result the tiles that meet the lower triangle.
    const Index first_row = product.is_symmetric ? column / kTileRows * kTileRows : 0;
    for (Index k = 0; k < product.inner; k += kPanelRows) {
      panel.first_inner = k;
      panel.last_inner = std::min(k + kPanelRows, product.inner);
      pack(product, panel);
      for (Index row = first_row; row < product.rows; row += kTileRows) {
        multiply_rows(product, panel, row);
      }
    }
  }
  if (product.is_symmetric) {
    mirror(product);
  }
}

}  // namespace fathom::optim::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::optim {

HWY_EXPORT(multiply_all);

void multiply(const MatrixProduct<float>& product) noexcept {
  HWY_DYNAMIC_DISPATCH(multiply_all)(product);
}

void multiply(const MatrixProduct<double>& product) noexcept {
  for (Index row = 0; row < product.rows; ++row) {
    for (Index column = 0; column < product.columns; ++column) {
      double sum = 0;
      for (Index k = 0; k < product.inner; ++k) {
        sum += product.left[row * product.inner + k] *
               product.right[product.right_is_transposed ? column * product.inner + k
                                                         : k * product.columns + column];
      }
      const Index place = row * product.columns + column;
      product.out[place] =
          product.product_scale * sum +
          (product.addend == nullptr ? 0 : product.addend_scale * product.addend[place]);
    }
  }
}

}  // namespace fathom::optim
#endif  // HWY_ONCE

// A row-major matrix in memory that someone else owns.
#pragma once

#include <type_traits>

#include "fathom/base/core/error.h"
#include "fathom/base/core/index.h"
#include "fathom/compute/tensor/dtype.h"

namespace fathom::tensor {

template <typename T>
struct MatrixView {
  T* data = nullptr;
  Index rows = 0;
  Index columns = 0;
  Index row_stride = 0;  // in elements

  T* row(Index idx) const { return data + idx * row_stride; }

  // Columns [first, first + count) of every row.
  MatrixView slice_columns(Index first, Index count) const {
    return {data + first, rows, count, row_stride};
  }
  MatrixView slice_rows(Index first, Index count) const {
    return {data + first * row_stride, count, columns, row_stride};
  }

  operator MatrixView<const T>() const requires(!std::is_const_v<T>) {
    return {data, rows, columns, row_stride};
  }
};

// Rows spread over pages of equal size: how a kernel sees a stream of the cache. Row i is only
// valid if its page is present; the cache guarantees that for the rows a layer may ask for.
template <typename T>
struct RowTable {
  static constexpr Index kPageShift = 4;
  static constexpr Index kRowsPerPage = Index{1} << kPageShift;

  const T* const* pages = nullptr;
  Index num_rows = 0;
  Index width = 0;  // in elements: of Int16Row with its scale

  const T* row(Index idx) const {
    return pages[idx >> kPageShift] + (idx & (kRowsPerPage - 1)) * width;
  }
};

// Rows of numbers that may be changed: gradients of the rows of a stream.
template <typename T>
struct WritableRowTable {
  T* const* pages = nullptr;
  Index num_rows = 0;
  Index width = 0;

  T* row(Index idx) const {
    return pages[idx >> RowTable<T>::kPageShift] + (idx & (RowTable<T>::kRowsPerPage - 1)) * width;
  }
};

// A RowTable before a kernel's number type is known.
struct PagedRows {
  DType dtype = DType::F32;
  const void* const* pages = nullptr;
  Index num_rows = 0;
  Index width = 0;

  template <typename Real>
  RowTable<Real> table() const {
    FATHOM_CHECK(num_rows == 0 || dtype_of<Real>() == dtype);
    return {reinterpret_cast<const Real* const*>(pages), num_rows,
            row_bytes(dtype, width) / element_bytes(dtype)};
  }
};

// The same for rows that may be changed.
struct WritablePagedRows {
  DType dtype = DType::F32;
  void* const* pages = nullptr;
  Index num_rows = 0;
  Index width = 0;

  template <typename Real>
  WritableRowTable<Real> table() const {
    FATHOM_CHECK(num_rows == 0 || dtype_of<Real>() == dtype);
    return {reinterpret_cast<Real* const*>(pages), num_rows, width};
  }
};

}  // namespace fathom::tensor

// A dense, contiguous array in memory that someone else owns (an Arena, mostly): pointer, dtype and
// shape. Cheap to copy; copying does not copy the numbers.
#pragma once

#include <array>
#include <initializer_list>
#include <string>

#include "fathom/base/core/error.h"
#include "fathom/compute/tensor/arena.h"
#include "fathom/compute/tensor/dtype.h"
#include "fathom/compute/tensor/matrix_view.h"

namespace fathom::tensor {

// Up to four dimensions, outermost first.
class Shape {
 public:
  static constexpr int kMaxRank = 4;
  Shape() = default;
  Shape(std::initializer_list<Index> dims);

  int rank() const { return rank_; }
  Index operator[](int axis) const { return dims_[to_size(axis)]; }
  Index last() const { return rank_ == 0 ? 1 : dims_[to_size(rank_ - 1)]; }
  Index num_elements() const;
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<Index, kMaxRank> dims_{};
  int rank_ = 0;
};
std::string to_string(const Shape& shape);  // "[3, 4]"

class Tensor {
 public:
  Tensor() = default;
  Tensor(void* data, DType dtype, const Shape& shape) : data_(data), dtype_(dtype), shape_(shape) {}
  static Tensor allocate(Arena& arena, DType dtype, const Shape& shape);

  bool is_empty() const { return data_ == nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  Index dim(int axis) const { return shape_[axis]; }
  Index num_elements() const { return shape_.num_elements(); }
  Index num_bytes() const { return num_elements() * element_bytes(dtype_); }
  void* raw() const { return data_; }

  // The numbers; T must be the dtype's type.
  template <typename T>
  T* data() const {
    FATHOM_CHECK(dtype_of<std::remove_const_t<T>>() == dtype_);
    return static_cast<T*>(data_);
  }

  // All but the last dimension folded into rows: [T, N, D] is [T * N, D].
  template <typename T>
  MatrixView<T> matrix() const {
    return matrix<T>(shape_.last());
  }
  // Rows of `columns` numbers.
  template <typename T>
  MatrixView<T> matrix(Index columns) const {
    FATHOM_CHECK(columns > 0 && num_elements() % columns == 0);
    return {data<T>(), num_elements() / columns, columns, columns};
  }

  // The same numbers under another shape.
  Tensor reshape(const Shape& shape) const;
  // Entries [first, first + count) of the first dimension.
  Tensor slice(Index first, Index count) const;

 private:
  void* data_ = nullptr;
  DType dtype_ = DType::F32;
  Shape shape_;
};

}  // namespace fathom::tensor

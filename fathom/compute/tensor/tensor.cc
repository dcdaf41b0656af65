#include "fathom/compute/tensor/tensor.h"

namespace fathom::tensor {

Shape::Shape(std::initializer_list<Index> dims) : rank_(static_cast<int>(dims.size())) {
  FATHOM_CHECK(dims.size() <= kMaxRank);
  std::size_t axis = 0;
  for (const Index dim : dims) {
    FATHOM_CHECK(dim >= 0);
    dims_[axis++] = dim;
  }
}

Index Shape::num_elements() const {
  Index count = 1;
  for (int axis = 0; axis < rank_; ++axis) {
    const auto product = checked_multiply(count, (*this)[axis]);
    FATHOM_CHECK(product.has_value());
    count = *product;
  }
  return count;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.rank(); ++axis) {
    text += (axis == 0 ? "" : ", ") + std::to_string(shape[axis]);
  }
  return text + "]";
}

Tensor Tensor::allocate(Arena& arena, DType dtype, const Shape& shape) {
  return {arena.allocate(shape.num_elements() * element_bytes(dtype)), dtype, shape};
}

Tensor Tensor::reshape(const Shape& shape) const {
  FATHOM_CHECK(shape.num_elements() == num_elements());
  return {data_, dtype_, shape};
}

Tensor Tensor::slice(Index first, Index count) const {
  FATHOM_CHECK(shape_.rank() > 0 && first >= 0 && count >= 0 && first + count <= shape_[0]);
  const Index inner = shape_[0] == 0 ? 0 : num_elements() / shape_[0];
  Shape shape = shape_;
  switch (shape_.rank()) {
    case 1:
      shape = {count};
      break;
    case 2:
      shape = {count, shape_[1]};
      break;
    case 3:
      shape = {count, shape_[1], shape_[2]};
      break;
    default:
      shape = {count, shape_[1], shape_[2], shape_[3]};
  }
  auto* bytes = static_cast<std::byte*>(data_);
  return {bytes + first * inner * element_bytes(dtype_), dtype_, shape};
}

}  // namespace fathom::tensor

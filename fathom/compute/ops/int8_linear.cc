#include "fathom/compute/ops/int8_linear.h"

#include "fathom/compute/numeric/int8_blocks.h"
#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

constexpr Index kBlock = numeric::kInt8BlockColumns;

template <typename T>
tensor::MatrixView<T> allocate_matrix(Context& context, Index rows, Index columns) {
  auto* data = reinterpret_cast<T*>(context.arena.allocate(rows * columns * to_index(sizeof(T))));
  return {data, rows, columns, columns};
}

}  // namespace

bool uses_int8(const Context& context, const numeric::WeightView& weight) {
  return context.numerics == Numerics::Fast && numeric::has_int8_blocks(weight.format) &&
         weight.columns % kBlock == 0;
}

Int8Rows round_to_int8(Context& context, const tensor::Tensor& x, Index columns) {
  refuse_recording(context, "int8_linear (numerics fast)");
  require_equal("round_to_int8", "columns modulo 32", columns % kBlock, 0);
  const Index rows = x.num_elements() / columns;
  const Int8Rows out = {allocate_matrix<std::uint8_t>(context, rows, columns),
                        allocate_matrix<float>(context, rows, columns / kBlock),
                        allocate_matrix<std::int32_t>(context, rows, columns / kBlock),
                        allocate_matrix<std::int32_t>(context, rows, columns / kBlock)};
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.round_to_int8.run({.x = x.matrix<Real>(columns), .out = out}, context.pool);
  });
  return out;
}

Int8Rows slice_columns(const Int8Rows& rows, Index first_column, Index columns) {
  FATHOM_CHECK(first_column % kBlock == 0 && columns % kBlock == 0);
  return {rows.codes.slice_columns(first_column, columns),
          rows.scales.slice_columns(first_column / kBlock, columns / kBlock),
          rows.zeros.slice_columns(first_column / kBlock, columns / kBlock),
          rows.sums.slice_columns(first_column / kBlock, columns / kBlock)};
}

}  // namespace fathom::ops

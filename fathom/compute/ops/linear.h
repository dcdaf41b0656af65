// Matrix products with weights in any format: y = W x, without bias.
//
// Sums follow the one K-order of docs/numerics.md, so a row's result does not depend on how many
// tokens or rows are computed together.
#pragma once

#include <optional>
#include <span>

#include "fathom/compute/numeric/weight_format.h"
#include "fathom/compute/ops/context.h"
#include "fathom/compute/ops/int8_linear.h"

namespace fathom::ops {

// What several weights multiply, [T, K]. Made with the first of them, it is rounded once where the
// numerics want that, to int8 blocks or to BF16 numbers, and not again by every product; made of a
// tensor alone, every product rounds for itself. The bits are the same.
class LinearInput {
 public:
  LinearInput(const tensor::Tensor& x) : x_(x) {}  // NOLINT(google-explicit-constructor)
  // What it holds lies in step memory: it ends with the arena's scope it was made in.
  LinearInput(Context& context, const numeric::WeightView& weight, const tensor::Tensor& x);

  const tensor::Tensor& x() const { return x_; }
  // The rows in int8 blocks; nothing where they were not made.
  bool is_rounded() const { return rounded_.codes.data != nullptr; }
  const Int8Rows& rounded() const { return rounded_; }
  // x as BF16 numbers; nothing where they were not made.
  const std::optional<tensor::Tensor>& bf16() const { return bf16_; }

 private:
  tensor::Tensor x_;
  std::optional<tensor::Tensor> bf16_;
  Int8Rows rounded_;
};

// Whether the numerics of the context round what a weight is multiplied with to BF16 numbers and
// nothing else.
bool uses_bf16(const Context& context, const numeric::WeightView& weight);

//   weight    [O, K]
//   x         [T, K]; rows may be strided (a slice of wider rows)
//   products  what x and out hold
//   out       [T, O]; rows may be strided
//   scratch   linear_scratch_bytes(K, T, 1), aligned to 64 bytes
template <typename Real>
struct LinearArgs {
  numeric::WeightView weight;
  tensor::MatrixView<const Real> x;
  Products products;
  tensor::MatrixView<Real> out;
  std::span<std::byte> scratch;
};

// d_x[t] += weight^T d_out[t],  d_weight[o] += sum_t d_out[t, o] x[t], where the weight is the
// matrix that its format decodes to.
//
//   x, d_x    [T, K]   d_out  [T, O]; rows of all may be strided   d_weight  [O, K], or none
//   operands  Bf16: weight, x and d_out are rounded to BF16 where they are multiplied; sums are not
template <typename Real>
struct LinearBackwardArgs {
  numeric::WeightView weight;
  tensor::MatrixView<const Real> x;
  tensor::MatrixView<const Real> d_out;
  tensor::MatrixView<Real> d_x;
  tensor::MatrixView<Real> d_weight;
  Rounding operands = Rounding::None;
};

// Slots of tokens that a kernel rearranges at a time, each matrix's own filled up to whole groups.
inline constexpr Index kScratchGroupSlots = 16;
inline constexpr Index kScratchGroups = 128;

// What a kernel may need beside its operands for `num_slots` rows of x that are spread over
// `num_matrices` matrices: room for x as BF16 numbers. It is memory only where
// it is used.
Index linear_scratch_bytes(Index columns, Index num_slots, Index num_matrices);

tensor::Tensor linear(Context& context,
                      const numeric::WeightView& weight,
                      const LinearInput& input,
                      Products products);

// The same into columns [first_column, first_column + O) of `out` [T, *].
void linear_into(Context& context,
                 const numeric::WeightView& weight,
                 const LinearInput& input,
                 Products products,
                 const tensor::Tensor& out,
                 Index first_column);

// Weights of one width side by side: out[t] is weights[0] x[t], then weights[1] x[t], ...
//
//   weights  n matrices [O_i, K]   out  [T, sum of all O_i]
void linear_side_by_side(Context& context,
                         std::span<const numeric::WeightView> weights,
                         const LinearInput& input,
                         Products products,
                         const tensor::Tensor& out);

// The grouped low-rank output projection: out[t, g] = weight[g] x[t, g] (specification 3.3.5).
//
//   weight  [G * O, K]   x  [T, G * K]   returns  [T, G * O]
tensor::Tensor grouped_linear(Context& context,
                              const numeric::WeightView& weight,
                              const tensor::Tensor& x,
                              Index num_groups,
                              Products products);

// Products of routed experts over token slots sorted by expert:
// out[s] = weights[e] x[source[s]] for offsets[e] <= s < offsets[e + 1].
//
//   weights  E matrices [O, K]   x  [*, K]   offsets  [E + 1]   out  [S, O]
//   source   [S], or empty: slot s is row s
//   products and scratch  as above, scratch of linear_scratch_bytes(K, S, E)
template <typename Real>
struct ExpertLinearArgs {
  std::span<const numeric::WeightView> weights;
  tensor::MatrixView<const Real> x;
  std::span<const std::int32_t> source;
  std::span<const std::int32_t> offsets;
  Products products;
  tensor::MatrixView<Real> out;
  std::span<std::byte> scratch;
};

// As LinearBackwardArgs, for every expert and its slots.
//
//   d_weights  E gradients [O, K], each of which may be none
template <typename Real>
struct ExpertLinearBackwardArgs {
  std::span<const numeric::WeightView> weights;
  tensor::MatrixView<const Real> x;
  std::span<const std::int32_t> source;
  std::span<const std::int32_t> offsets;
  tensor::MatrixView<const Real> d_out;
  tensor::MatrixView<Real> d_x;
  std::span<const tensor::MatrixView<Real>> d_weights;
  Rounding operands = Rounding::None;
};

// Whether matrices may stand in one list of experts: of one shape, and multiplied alike in every
// numerics.
bool are_multiplied_alike(const numeric::WeightView& a, const numeric::WeightView& b);

tensor::Tensor expert_linear(Context& context,
                             std::span<const numeric::WeightView> weights,
                             const LinearInput& input,
                             std::span<const std::int32_t> source,
                             std::span<const std::int32_t> offsets,
                             Products products);

}  // namespace fathom::ops

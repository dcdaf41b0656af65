#include <algorithm>

#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/numeric/int8_blocks.h"

namespace fathom::reference {
namespace {

constexpr Index kBlock = numeric::kInt8BlockColumns;

std::int32_t sum_of_products(const std::int8_t* a, const std::uint8_t* b, std::int32_t zero) {
  std::int32_t sum = 0;
  for (Index i = 0; i < kBlock; ++i) {
    sum += std::int32_t{a[i]} * (std::int32_t{b[i]} - zero);
  }
  return sum;
}

// Row `row` of the weight times row `token` of x, block by block.
template <typename Real>
Real product(const numeric::WeightView& weight, Index row, const ops::Int8Rows& x, Index token) {
  Real sum = 0;
  numeric::Int8Block block;
  for (Index idx = 0; idx < weight.columns / kBlock; ++idx) {
    numeric::read_int8_block(weight, row, idx, block);
    const auto x_scale = static_cast<Real>(x.scales.row(token)[idx]);
    const auto whole =
        sum_of_products(block.codes, x.codes.row(token) + idx * kBlock, x.zeros.row(token)[idx]);
    sum += static_cast<Real>(whole) * static_cast<Real>(block.scale) * x_scale;
    if (numeric::has_int8_minimum(weight.format)) {
      sum +=
          static_cast<Real>(block.minimum) * (static_cast<Real>(x.sums.row(token)[idx]) * x_scale);
    }
  }
  return sum;
}

}  // namespace

// Rounding is in fp32 also from double: a code is an integer, and both must choose the same one.
template <typename Real>
void round_to_int8(const ops::RoundToInt8Args<Real>& args,
                   platform::ThreadPool& /*pool*/) noexcept {
  for (Index row = 0; row < args.x.rows; ++row) {
    for (Index idx = 0; idx < args.x.columns / kBlock; ++idx) {
      float x[kBlock];
      const Real* from = args.x.row(row) + idx * kBlock;
      std::transform(from, from + kBlock, x, [](Real value) { return static_cast<float>(value); });
      std::uint8_t* codes = args.out.codes.row(row) + idx * kBlock;
      const numeric::RoundedBlock rounded = numeric::round_to_int8_block(x, kBlock, codes);
      args.out.scales.row(row)[idx] = rounded.scale;
      args.out.zeros.row(row)[idx] = rounded.zero;
      args.out.sums.row(row)[idx] = rounded.sum;
    }
  }
}

template <typename Real>
void int8_linear(const ops::Int8LinearArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.out.rows; ++token) {
    for (Index row = 0; row < args.weight.rows; ++row) {
      args.out.row(token)[row] = product<Real>(args.weight, row, args.x, token);
    }
  }
}

template <typename Real>
void expert_int8_linear(const ops::ExpertInt8LinearArgs<Real>& args,
                        platform::ThreadPool& /*pool*/) noexcept {
  for (std::size_t expert = 0; expert < args.weights.size(); ++expert) {
    for (Index slot = args.offsets[expert]; slot < args.offsets[expert + 1]; ++slot) {
      const Index token = args.source.empty() ? slot : Index{args.source[to_size(slot)]};
      for (Index row = 0; row < args.out.columns; ++row) {
        args.out.row(slot)[row] = product<Real>(args.weights[expert], row, args.x, token);
      }
    }
  }
}

template void round_to_int8(const ops::RoundToInt8Args<float>&, platform::ThreadPool&) noexcept;
template void round_to_int8(const ops::RoundToInt8Args<double>&, platform::ThreadPool&) noexcept;
template void int8_linear(const ops::Int8LinearArgs<float>&, platform::ThreadPool&) noexcept;
template void int8_linear(const ops::Int8LinearArgs<double>&, platform::ThreadPool&) noexcept;
template void expert_int8_linear(const ops::ExpertInt8LinearArgs<float>&,
                                 platform::ThreadPool&) noexcept;
template void expert_int8_linear(const ops::ExpertInt8LinearArgs<double>&,
                                 platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

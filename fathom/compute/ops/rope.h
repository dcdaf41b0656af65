// Rotary position embedding of the last dimensions of each head (specification 3.4).
#pragma once

#include <span>
#include <vector>

#include "fathom/compute/ops/context.h"

namespace fathom::ops {

// Rotation frequencies of the pairs, by the fp32 chain that the official tables follow bit for bit.
struct RopeFrequencies {
  std::vector<float> values;  // [R / 2]
};
struct YarnParameters {
  double factor;
  Index original_context;
  double beta_fast;
  double beta_slow;
};
RopeFrequencies rope_frequencies(Index rope_dim, double base, const YarnParameters* yarn);

// Scalings of models that came after the plain form, in fp32 as PyPI transformers computes them.
// Every frequency divided by one number, or by one of its own [R / 2].
void divide_frequencies(RopeFrequencies& frequencies, double divisor);
void divide_frequencies(RopeFrequencies& frequencies, std::span<const float> divisors);

// Waves longer than original_context / low_factor become `factor` times longer, those shorter than
// original_context / high_factor stay, and between the two the frequencies are blended.
struct Llama3Parameters {
  double factor;
  double low_factor;
  double high_factor;
  Index original_context;
};
void scale_llama3(RopeFrequencies& frequencies, const Llama3Parameters& parameters);

// cos and sin of fp32(position) * fp32(frequency), the product rounded to fp32.
//
//   positions    [T]
//   frequencies  [R / 2]
//   cos_sin      [T, R]: R / 2 cosines, then R / 2 sines
template <typename Real>
struct RopeTableArgs {
  std::span<const Index> positions;
  std::span<const float> frequencies;
  tensor::MatrixView<Real> cos_sin;
};
tensor::Tensor rope_table(Context& context,
                          std::span<const Index> positions,
                          const RopeFrequencies& frequencies);

// Which of the last R numbers of a head rotate together.
enum class RopePairs {
  Neighbours,  // 2i and 2i + 1
  Halves,      // i and i + R / 2
};

// Rotates the pairs of the last R of every head's C numbers; `is_inverse` turns back.
// Official rounding: once, at the end.
//
//   x        [T, H * C], in place
//   cos_sin  [T, R]
template <typename Real>
struct RopeArgs {
  tensor::MatrixView<Real> x;
  Index head_dim;
  tensor::MatrixView<const Real> cos_sin;
  bool is_inverse;
  RopePairs pairs;
  Rounding rounding;
};
void rope(Context& context,
          const tensor::Tensor& x,
          Index head_dim,
          const tensor::Tensor& cos_sin,
          bool is_inverse,
          RopePairs pairs = RopePairs::Neighbours);

}  // namespace fathom::ops

#include "fathom/compute/ops/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "fathom/compute/ops/kernel_table.h"
#include "fathom/compute/ops/recorder.h"
#include "fathom/compute/ops/require.h"

namespace fathom::ops {
namespace {

// The pair index at which a rotation makes `turns` turns over the original context.
double correction_dim(Index rope_dim, double base, double original_context, double turns) {
  return static_cast<double>(rope_dim) *
         std::log(original_context / (turns * 2.0 * std::numbers::pi)) / (2.0 * std::log(base));
}

}  // namespace

RopeFrequencies rope_frequencies(Index rope_dim, double base, const YarnParameters* yarn) {
  RopeFrequencies frequencies;
  float low = 0;
  float high = 0;
  if (yarn != nullptr) {
    const auto context = static_cast<double>(yarn->original_context);
    const double first = std::floor(correction_dim(rope_dim, base, context, yarn->beta_fast));
    const double last = std::ceil(correction_dim(rope_dim, base, context, yarn->beta_slow));
    low = static_cast<float>(std::max(first, 0.0));
    high = static_cast<float>(std::min(last, static_cast<double>(rope_dim - 1)));
    if (low == high) {
      high += 0.001F;
    }
  }
  // Every operation is rounded to fp32 in this order: the published tables come from such a chain,
  // and a double formula is off by 9e-4 in cos and sin at position 65,536 (specification 3.4).
  for (Index pair = 0; pair < rope_dim / 2; ++pair) {
    const float exponent = static_cast<float>(2 * pair) / static_cast<float>(rope_dim);
    const auto power = static_cast<float>(std::pow(base, static_cast<double>(exponent)));
    float frequency = 1.0F / power;
    if (yarn != nullptr) {
      const float ramp = std::clamp((static_cast<float>(pair) - low) / (high - low), 0.0F, 1.0F);
      const float slowed = frequency / static_cast<float>(yarn->factor) * ramp;
      const float kept = frequency * (1.0F - ramp);
      frequency = slowed + kept;
    }
    frequencies.values.push_back(frequency);
  }
  return frequencies;
}

void divide_frequencies(RopeFrequencies& frequencies, double divisor) {
  for (float& frequency : frequencies.values) {
    frequency /= static_cast<float>(divisor);
  }
}

void divide_frequencies(RopeFrequencies& frequencies, std::span<const float> divisors) {
  require_equal("rope", "divisors of frequencies", to_index(divisors.size()),
                to_index(frequencies.values.size()));
  for (std::size_t pair = 0; pair < divisors.size(); ++pair) {
    frequencies.values[pair] /= divisors[pair];
  }
}

void scale_llama3(RopeFrequencies& frequencies, const Llama3Parameters& parameters) {
  const auto context = static_cast<float>(parameters.original_context);
  const auto factor = static_cast<float>(parameters.factor);
  const auto low = static_cast<float>(parameters.low_factor);
  const auto high = static_cast<float>(parameters.high_factor);
  const auto longest =
      static_cast<float>(static_cast<double>(parameters.original_context) / parameters.low_factor);
  const auto shortest =
      static_cast<float>(static_cast<double>(parameters.original_context) / parameters.high_factor);
  for (float& frequency : frequencies.values) {
    const float wave = static_cast<float>(2 * std::numbers::pi) / frequency;
    if (wave > longest) {
      frequency /= factor;
    } else if (wave >= shortest) {
      const float blend = (context / wave - low) / (high - low);
      frequency = (1.0F - blend) * frequency / factor + blend * frequency;
    }
  }
}

tensor::Tensor rope_table(Context& context,
                          std::span<const Index> positions,
                          const RopeFrequencies& frequencies) {
  const Index rope_dim = 2 * to_index(frequencies.values.size());
  tensor::Tensor cos_sin = context.allocate({to_index(positions.size()), rope_dim});
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.rope_table.run({.positions = positions,
                            .frequencies = frequencies.values,
                            .cos_sin = cos_sin.matrix<Real>()},
                           context.pool);
  });
  return cos_sin;
}

namespace {

// How heads are turned.
struct Turn {
  Index head_dim;
  tensor::Tensor cos_sin;
  bool is_inverse;
  RopePairs pairs;
};

// Rotates without recording: the op, and with the other direction its backward half.
void rotate(Context& context, const tensor::Tensor& x, const Turn& turn, Rounding rounding) {
  with_kernels(context, [&](auto real, const auto& kernels) {
    using Real = decltype(real);
    kernels.rope.run({.x = x.matrix<Real>(),
                      .head_dim = turn.head_dim,
                      .cos_sin = turn.cos_sin.matrix<Real>(),
                      .is_inverse = turn.is_inverse,
                      .pairs = turn.pairs,
                      .rounding = rounding},
                     context.pool);
  });
}

}  // namespace

void rope(Context& context,
          const tensor::Tensor& x,
          Index head_dim,
          const tensor::Tensor& cos_sin,
          bool is_inverse,
          RopePairs pairs) {
  require_equal("rope", "columns of x modulo head_dim", x.shape().last() % head_dim, 0);
  require_equal("rope", "rows of the table", cos_sin.dim(0), x.num_elements() / x.shape().last());
  save_if_recording(context, x);
  rotate(context, x, {head_dim, cos_sin, is_inverse, pairs}, context.rounding());
  if (context.recorder != nullptr) [[unlikely]] {
    // The transpose of a rotation turns back.
    const Turn back_turn = {head_dim, cos_sin, !is_inverse, pairs};
    context.recorder->record("rope", {x}, [=](Context& back, Gradients& gradients) {
      rotate(back, gradients.of(x), back_turn, Rounding::None);
    });
  }
}

}  // namespace fathom::ops

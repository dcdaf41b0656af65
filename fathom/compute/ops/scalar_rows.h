// Scalar code for one row or group, of ops that are too small or too branchy to vectorise: what
// backends on a CPU share.
#pragma once

#include <algorithm>
#include <cmath>

#include "fathom/compute/numeric/small_floats.h"
#include "fathom/compute/ops/hyper_connection.h"
#include "fathom/compute/ops/rope.h"
#include "fathom/compute/ops/round_trip.h"
#include "fathom/compute/ops/route.h"

namespace fathom::ops {

template <typename Real>
Real rounded(Real value, Rounding rounding) {
  return rounding == Rounding::Bf16 ? numeric::round_bf16(value) : value;
}

template <typename Real>
Real sigmoid(Real x) {
  return Real{1} / (Real{1} + std::exp(-x));
}

// Every row to its softmax plus epsilon.
template <typename Real>
void softmax_rows(Real* comb, Index n, Real epsilon) {
  for (Index j = 0; j < n; ++j) {
    Real* row = comb + j * n;
    const Real largest = *std::max_element(row, row + n);
    Real sum = 0;
    for (Index k = 0; k < n; ++k) {
      row[k] = std::exp(row[k] - largest);
      sum += row[k];
    }
    for (Index k = 0; k < n; ++k) {
      row[k] = row[k] / sum + epsilon;
    }
  }
}

// Every row, or every column, divided by its sum plus epsilon.
template <typename Real>
void divide_by_sums(Real* comb, Index n, Real epsilon, bool is_by_rows) {
  const Index outer_stride = is_by_rows ? n : 1;
  const Index inner_stride = is_by_rows ? 1 : n;
  for (Index outer = 0; outer < n; ++outer) {
    Real sum = 0;
    for (Index inner = 0; inner < n; ++inner) {
      sum += comb[outer * outer_stride + inner * inner_stride];
    }
    for (Index inner = 0; inner < n; ++inner) {
      comb[outer * outer_stride + inner * inner_stride] /= sum + epsilon;
    }
  }
}

// Softmax of every row plus epsilon is the first row step; then columns, and rows and columns in
// turn, ending on columns (specification 3.2.2).
template <typename Real>
void sinkhorn(Real* comb, Index n, Real epsilon, Index iterations) {
  softmax_rows(comb, n, epsilon);
  divide_by_sums(comb, n, epsilon, false);
  for (Index iteration = 1; iteration < iterations; ++iteration) {
    divide_by_sums(comb, n, epsilon, true);
    divide_by_sums(comb, n, epsilon, false);
  }
}

template <typename Real>
Real sqrt_softplus(Real x) {
  // Linear above 20, as the official code has it: exp would only add noise there.
  return std::sqrt(x > Real{20} ? x : std::log1p(std::exp(x)));
}

// Its derivative. Far on the left, where the function is zero in this number type, zero as well.
template <typename Real>
Real sqrt_softplus_slope(Real x) {
  const Real value = sqrt_softplus(x);
  if (!(value > 0)) {
    return value;  // 0, or not a number
  }
  return (x > Real{20} ? Real{1} : sigmoid(x)) / (Real{2} * value);
}

// The best experts by score + bias, best first, with their scores beside: an insertion into a
// short list. The lower expert wins a tie.
template <typename Real>
void choose_top_k(
    const Real* logits, std::span<const float> bias, Index count, std::int32_t* ids, Real* scores) {
  Index num_chosen = 0;
  for (Index expert = 0; expert < to_index(bias.size()); ++expert) {
    const Real score = sqrt_softplus(logits[expert]) + static_cast<Real>(bias[to_size(expert)]);
    if (num_chosen == count && !(score > scores[count - 1])) {
      continue;
    }
    num_chosen = std::min(num_chosen + 1, count);
    Index place = num_chosen - 1;
    for (; place > 0 && score > scores[place - 1]; --place) {
      scores[place] = scores[place - 1];
      ids[place] = ids[place - 1];
    }
    scores[place] = score;
    ids[place] = static_cast<std::int32_t>(expert);
  }
}

template <typename Real>
void route_row(const RouteArgs<Real>& args, Index token) {
  const Index count = args.ids.columns;
  const Real* logits = args.logits.row(token);
  std::int32_t* ids = args.ids.row(token);
  if (args.table.empty()) {
    choose_top_k(logits, args.bias, count, ids, args.weights.row(token));
  } else {
    const auto first = args.table.begin() + args.tokens[to_size(token)] * count;
    std::copy_n(first, count, ids);
  }
  std::sort(ids, ids + count);
  Real* weights = args.weights.row(token);
  Real sum = 0;
  for (Index chosen = 0; chosen < count; ++chosen) {
    weights[chosen] = sqrt_softplus(logits[ids[chosen]]);
    sum += weights[chosen];
  }
  for (Index chosen = 0; chosen < count; ++chosen) {
    weights[chosen] = weights[chosen] / sum * static_cast<Real>(args.scale);
  }
}

// The gradient of one token's logits from that of its weights.
template <typename Real>
void route_backward_row(const RouteBackwardArgs<Real>& args, Index token) {
  const Real* logits = args.logits.row(token);
  const Real* d_weights = args.d_weights.row(token);
  const std::int32_t* ids = args.ids.row(token);
  Real sum = 0;
  Real weighted = 0;
  for (Index chosen = 0; chosen < args.ids.columns; ++chosen) {
    const Real score = sqrt_softplus(logits[ids[chosen]]);
    sum += score;
    weighted += d_weights[chosen] * score;
  }
  for (Index chosen = 0; chosen < args.ids.columns; ++chosen) {
    const Real d_score = static_cast<Real>(args.scale) / sum * (d_weights[chosen] - weighted / sum);
    args.d_logits.row(token)[ids[chosen]] += d_score * sqrt_softplus_slope(logits[ids[chosen]]);
  }
}

// One group: its scale from the largest magnitude, then encode and decode every number. In double
// the numbers are rounded to fp32 first, which the 4- and 8-bit codes cannot tell.
template <typename Real>
void round_trip_group(const Real* x, Index count, RoundTripFormat format, Real* out) {
  if (format == RoundTripFormat::Bf16) {
    std::transform(x, x + count, out, [](Real number) {
      return static_cast<Real>(numeric::round_bf16(static_cast<float>(number)));
    });
    return;
  }
  float largest = 0;
  for (Index i = 0; i < count; ++i) {
    largest = std::max(largest, static_cast<float>(std::abs(x[i])));
  }
  const bool is_e4m3 = format == RoundTripFormat::E4m3;
  const float scale =
      is_e4m3 ? numeric::e4m3_group_scale(largest) : numeric::e2m1_group_scale(largest);
  for (Index i = 0; i < count; ++i) {
    const float scaled = static_cast<float>(x[i]) / scale;
    const float decoded = is_e4m3 ? numeric::e4m3_to_float(numeric::float_to_e4m3(scaled))
                                  : numeric::kE2m1Values[numeric::float_to_e2m1(scaled)];
    out[i] = static_cast<Real>(numeric::round_bf16(decoded * scale));
  }
}

// One row of the table: cosines, then sines.
template <typename Real>
void rope_table_row(const RopeTableArgs<Real>& args, Index row) {
  const Index pairs = to_index(args.frequencies.size());
  Real* out = args.cos_sin.row(row);
  for (Index pair = 0; pair < pairs; ++pair) {
    // The product is rounded to fp32 in both number types: it is part of the model's definition,
    // visible at positions where its last bit is a large angle.
    const float angle =
        static_cast<float>(args.positions[to_size(row)]) * args.frequencies[to_size(pair)];
    out[pair] = static_cast<Real>(std::cos(static_cast<double>(angle)));
    out[pairs + pair] = static_cast<Real>(std::sin(static_cast<double>(angle)));
  }
}

// Sylvester butterflies of stride 1, 2, 4, ... and the scale width^{-1/2}.
template <typename Real>
void hadamard_row(Real* x, Index width, Rounding rounding) {
  const auto factor = static_cast<Real>(1.0 / std::sqrt(static_cast<double>(width)));
  for (Index stride = 1; stride < width; stride *= 2) {
    for (Index block = 0; block < width; block += 2 * stride) {
      for (Index i = block; i < block + stride; ++i) {
        const Real sum = x[i] + x[i + stride];
        x[i + stride] = x[i] - x[i + stride];
        x[i] = sum;
      }
    }
  }
  for (Index i = 0; i < width; ++i) {
    x[i] = rounded(x[i] * factor, rounding);
  }
}

// The control numbers of one token from its products and the mean square of its streams, but for
// the iterations: comb holds what goes into them.
template <typename Real>
void hyper_mix_row(const HyperControlArgs<Real>& args, Index token, Real mean_square) {
  const Index n = args.pre.columns;
  const auto epsilon = static_cast<Real>(args.epsilon);
  const Real factor = Real{1} / std::sqrt(mean_square + static_cast<Real>(args.norm_epsilon));
  const auto mixed = [&](Index idx, std::size_t scale_idx) {
    return args.products.row(token)[idx] * factor * static_cast<Real>(args.scale[scale_idx]) +
           static_cast<Real>(args.base[to_size(idx)]);
  };
  for (Index j = 0; j < n; ++j) {
    args.pre.row(token)[j] = sigmoid(mixed(j, 0)) + epsilon;
  }
  if (args.post.data == nullptr) {
    return;  // the head has pre alone
  }
  for (Index j = 0; j < n; ++j) {
    args.post.row(token)[j] = Real{2} * sigmoid(mixed(n + j, 1));
  }
  for (Index idx = 0; idx < n * n; ++idx) {
    args.comb.row(token)[idx] = mixed(2 * n + idx, 2);
  }
}

template <typename Real>
void hyper_control_row(const HyperControlArgs<Real>& args, Index token, Real mean_square) {
  hyper_mix_row(args, token, mean_square);
  if (args.comb.data != nullptr) {
    sinkhorn(args.comb.row(token), args.pre.columns, static_cast<Real>(args.epsilon),
             args.iterations);
  }
}

}  // namespace fathom::ops

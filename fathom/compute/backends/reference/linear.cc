#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
namespace {

// Decoded at a time: a multiple of every format's block.
constexpr Index kChunk = 256;
// Tokens that share one decoding of a chunk.
constexpr Index kTokens = 16;

// out[i] = weight[row] . x[i] for up to kTokens tokens.
template <typename Real>
void row_products(const numeric::WeightView& weight,
                  Index row,
                  const Real* const* x,
                  Index num_tokens,
                  Real* out) {
  Real lanes[kTokens][kLanes] = {};
  Real chunk[kChunk];
  for (Index first = 0; first < weight.columns; first += kChunk) {
    const Index count = std::min(kChunk, weight.columns - first);
    numeric::decode_row(weight, row, first, count, chunk);
    for (Index token = 0; token < num_tokens; ++token) {
      add_products(chunk, x[token] + first, count, lanes[token]);
    }
  }
  for (Index token = 0; token < num_tokens; ++token) {
    out[token] = sum_lanes(lanes[token]);
  }
}

// out[t, row] = weight[row] . x[source(t)] for all rows and the tokens [0, num_tokens).
template <typename Real, typename Source>
void products(const numeric::WeightView& weight,
              const tensor::MatrixView<const Real>& x,
              Index num_tokens,
              const Source& source,
              ops::Rounding rounding,
              const tensor::MatrixView<Real>& out) {
  for (Index first = 0; first < num_tokens; first += kTokens) {
    const Index count = std::min(kTokens, num_tokens - first);
    const Real* rows[kTokens];
    for (Index token = 0; token < count; ++token) {
      rows[token] = x.row(source(first + token));
    }
    for (Index row = 0; row < weight.rows; ++row) {
      Real result[kTokens];
      row_products(weight, row, rows, count, result);
      for (Index token = 0; token < count; ++token) {
        out.row(first + token)[row] = rounded(result[token], rounding);
      }
    }
  }
}

}  // namespace

template <typename Real>
void linear(const ops::LinearArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  products(
      args.weight, args.x, args.x.rows, [](Index token) { return token; },
      rounding_of(args.products), args.out);
}

template <typename Real>
void expert_linear(const ops::ExpertLinearArgs<Real>& args,
                   platform::ThreadPool& /*pool*/) noexcept {
  for (std::size_t expert = 0; expert < args.weights.size(); ++expert) {
    const Index first = args.offsets[expert];
    const Index count = args.offsets[expert + 1] - first;
    products(
        args.weights[expert], args.x, count,
        [&](Index slot) {
          return args.source.empty() ? first + slot : Index{args.source[to_size(first + slot)]};
        },
        rounding_of(args.products), args.out.slice_rows(first, count));
  }
}

namespace {

// d_x += sum_o d_out[o] weight[o],  d_weight[o] += d_out[o] x, for the rows [0, num_tokens) of
// d_out: row t belongs to row source(t) of x.
template <typename Real, typename Source>
void products_backward(const ops::LinearBackwardArgs<Real>& args,
                       Index num_tokens,
                       const Source& source) {
  const auto operand = [&](Real value) { return rounded(value, args.operands); };
  Real chunk[kChunk];
  for (Index row = 0; row < args.weight.rows; ++row) {
    for (Index first = 0; first < args.weight.columns; first += kChunk) {
      const Index count = std::min(kChunk, args.weight.columns - first);
      numeric::decode_row(args.weight, row, first, count, chunk);
      std::transform(chunk, chunk + count, chunk, operand);
      for (Index token = 0; token < num_tokens; ++token) {
        const Real d_out = operand(args.d_out.row(token)[row]);
        Real* d_x = args.d_x.row(source(token)) + first;
        for (Index k = 0; k < count; ++k) {
          d_x[k] += d_out * chunk[k];
        }
      }
    }
    for (Index token = 0; args.d_weight.data != nullptr && token < num_tokens; ++token) {
      const Real d_out = operand(args.d_out.row(token)[row]);
      const Real* x = args.x.row(source(token));
      Real* d_weight = args.d_weight.row(row);
      for (Index k = 0; k < args.weight.columns; ++k) {
        d_weight[k] += d_out * operand(x[k]);
      }
    }
  }
}

}  // namespace

template <typename Real>
void linear_backward(const ops::LinearBackwardArgs<Real>& args,
                     platform::ThreadPool& /*pool*/) noexcept {
  products_backward(args, args.x.rows, [](Index token) { return token; });
}

template <typename Real>
void expert_linear_backward(const ops::ExpertLinearBackwardArgs<Real>& args,
                            platform::ThreadPool& /*pool*/) noexcept {
  for (std::size_t expert = 0; expert < args.weights.size(); ++expert) {
    const Index first = args.offsets[expert];
    const Index count = args.offsets[expert + 1] - first;
    products_backward<Real>(
        {.weight = args.weights[expert],
         .x = args.x,
         .d_out = args.d_out.slice_rows(first, count),
         .d_x = args.d_x,
         .d_weight = args.d_weights[expert],
         .operands = args.operands},
        count, [&](Index slot) {
          return args.source.empty() ? first + slot : Index{args.source[to_size(first + slot)]};
        });
  }
}

template void linear(const ops::LinearArgs<float>&, platform::ThreadPool&) noexcept;
template void linear(const ops::LinearArgs<double>&, platform::ThreadPool&) noexcept;
template void expert_linear(const ops::ExpertLinearArgs<float>&, platform::ThreadPool&) noexcept;
template void expert_linear(const ops::ExpertLinearArgs<double>&, platform::ThreadPool&) noexcept;
template void linear_backward(const ops::LinearBackwardArgs<float>&,
                              platform::ThreadPool&) noexcept;
template void linear_backward(const ops::LinearBackwardArgs<double>&,
                              platform::ThreadPool&) noexcept;
template void expert_linear_backward(const ops::ExpertLinearBackwardArgs<float>&,
                                     platform::ThreadPool&) noexcept;
template void expert_linear_backward(const ops::ExpertLinearBackwardArgs<double>&,
                                     platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

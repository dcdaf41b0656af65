#include "fathom/compute/ops/grouped_attention.h"

#include <algorithm>

#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"
#include "fathom/compute/numeric/small_floats.h"

namespace fathom::reference {

namespace {

// Numbers [first, first + count) of a row: where they lie, or in `room` if they are kept as BF16.
template <typename Real>
const Real* numbers_of(
    const tensor::PagedRows& rows, Index idx, Index first, Index count, Real* room) {
  if (rows.dtype != tensor::DType::BF16) {
    return rows.table<Real>().row(idx) + first;
  }
  const std::uint16_t* row = rows.table<std::uint16_t>().row(idx) + first;
  std::transform(row, row + count, room, numeric::bf16_to_float);
  return room;
}

template <typename Real>
void attend(const ops::GroupedAttentionArgs<Real>& args, Index token, Index head, Real* scores) {
  const Index width = args.head_dim;
  const Index num_rows = args.num_visible[to_size(token)];
  const Index shared = head / args.heads_per_group() * width;
  const Real* query = args.query.row(token) + head * width;
  Real* out = args.out.row(token) + head * width;
  Real* room = scores + num_rows;
  const auto key_of = [&](Index idx) { return numbers_of(args.keys, idx, shared, width, room); };
  const Real largest = score_rows(query, key_of, num_rows, width, args.scale, scores);
  Real sum = 0;
  std::fill_n(out, width, Real{0});
  for (Index idx = 0; idx < num_rows; ++idx) {
    const Real weight = std::exp(scores[idx] - largest);
    sum += weight;
    const Real* value = numbers_of(args.values, idx, shared, width, room);
    for (Index i = 0; i < width; ++i) {
      out[i] += weight * value[i];
    }
  }
  for (Index i = 0; i < width; ++i) {
    out[i] /= sum;
  }
}

}  // namespace

template <typename Real>
void grouped_attention(const ops::GroupedAttentionsArgs<Real>& args,
                       platform::ThreadPool& /*pool*/) noexcept {
  for (const ops::GroupedAttentionArgs<Real>& sequence : args.sequences) {
    for (Index token = 0; token < sequence.query.rows; ++token) {
      for (Index head = 0; head < sequence.query.columns / sequence.head_dim; ++head) {
        attend(sequence, token, head, args.scratch.row(0));
      }
    }
  }
}

namespace {

template <typename Real>
void head_backward(const ops::GroupedAttentionBackwardArgs<Real>& args, Index token, Index head) {
  const auto& forward = args.forward;
  const Index width = forward.head_dim;
  const Index num_rows = forward.num_visible[to_size(token)];
  const Index shared = head / forward.heads_per_group() * width;
  const Real* query = forward.query.row(token) + head * width;
  const Real* d_out = args.d_out.row(token) + head * width;
  const auto scale = static_cast<Real>(forward.scale);
  Real* weights = args.scratch.row(0);
  Real* d_weights = weights + num_rows;
  const auto keys = forward.keys.template table<Real>();
  const auto values = forward.values.template table<Real>();
  const auto key_of = [&](Index idx) { return keys.row(idx) + shared; };
  const Real largest = score_rows(query, key_of, num_rows, width, forward.scale, weights);
  Real sum = 0;
  for (Index idx = 0; idx < num_rows; ++idx) {
    weights[idx] = std::exp(weights[idx] - largest);
    sum += weights[idx];
  }
  Real mean = 0;  // of d_weights under the weights
  for (Index idx = 0; idx < num_rows; ++idx) {
    weights[idx] /= sum;
    d_weights[idx] = dot(d_out, values.row(idx) + shared, width);
    mean += weights[idx] * d_weights[idx];
  }
  Real* d_query = args.d_query.row(token) + head * width;
  for (Index idx = 0; idx < num_rows; ++idx) {
    const Real d_score = scale * weights[idx] * (d_weights[idx] - mean);
    const Real* key = keys.row(idx) + shared;
    Real* d_key = args.d_keys.row(idx) + shared;
    Real* d_value = args.d_values.row(idx) + shared;
    for (Index i = 0; i < width; ++i) {
      d_query[i] += d_score * key[i];
      d_key[i] += d_score * query[i];
      d_value[i] += weights[idx] * d_out[i];
    }
  }
}

}  // namespace

template <typename Real>
void grouped_attention_backward(const ops::GroupedAttentionBackwardArgs<Real>& args,
                                platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.d_out.rows; ++token) {
    for (Index head = 0; head < args.forward.query.columns / args.forward.head_dim; ++head) {
      head_backward(args, token, head);
    }
  }
}

template void grouped_attention(const ops::GroupedAttentionsArgs<float>&,
                                platform::ThreadPool&) noexcept;
template void grouped_attention(const ops::GroupedAttentionsArgs<double>&,
                                platform::ThreadPool&) noexcept;
template void grouped_attention_backward(const ops::GroupedAttentionBackwardArgs<float>&,
                                         platform::ThreadPool&) noexcept;
template void grouped_attention_backward(const ops::GroupedAttentionBackwardArgs<double>&,
                                         platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

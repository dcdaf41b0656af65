#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
template <typename Real>
void sink_attention(const ops::SinkAttentionArgs<Real>& args,
                    platform::ThreadPool& /*pool*/) noexcept {
  const Index width = args.window.width;
  Real* scores = args.scratch.row(0);
  for (Index token = 0; token < args.query.rows; ++token) {
    const ops::VisibleRows& visible = args.visible[to_size(token)];
    const Index num_rows = visible.num_window_rows + visible.num_compressed_rows;
    for (Index head = 0; head < to_index(args.sink.size()); ++head) {
      const Real* query = args.query.row(token) + head * width;
      Real* out = args.out.row(token) + head * width;
      const auto row_of = [&](Index idx) { return args.visible_row(token, idx); };
      const Real largest = score_rows(query, row_of, num_rows, width, args.scale, scores);
      Real sum = 0;
      std::fill_n(out, width, Real{0});
      for (Index idx = 0; idx < num_rows; ++idx) {
        const Real weight = std::exp(scores[idx] - largest);
        sum += weight;
        const Real* row = args.visible_row(token, idx);
        const Real factor = rounded(weight, args.rounding);
        for (Index i = 0; i < width; ++i) {
          out[i] += factor * row[i];
        }
      }
      sum += std::exp(static_cast<Real>(args.sink[to_size(head)]) - largest);
      for (Index i = 0; i < width; ++i) {
        out[i] = rounded(out[i] / sum, args.rounding);
      }
    }
  }
}

namespace {

// One head of one token: weights[i] and the gradients of its scores, d_scores[i].
template <typename Real>
void head_backward(const ops::SinkAttentionBackwardArgs<Real>& args, Index token, Index head) {
  const auto& forward = args.forward;
  const Index width = forward.window.width;
  const ops::VisibleRows& visible = forward.visible[to_size(token)];
  const Index num_rows = visible.num_window_rows + visible.num_compressed_rows;
  const Real* query = forward.query.row(token) + head * width;
  const Real* d_out = args.d_out.row(token) + head * width;
  const auto scale = static_cast<Real>(forward.scale);
  const auto sink = static_cast<Real>(forward.sink[to_size(head)]);
  Real* weights = args.scratch.row(0);
  Real* d_weights = weights + num_rows;
  const auto row_of = [&](Index idx) { return forward.visible_row(token, idx); };
  const Real largest = score_rows(query, row_of, num_rows, width, forward.scale, weights);
  Real sum = std::exp(sink - largest);
  for (Index idx = 0; idx < num_rows; ++idx) {
    weights[idx] = std::exp(weights[idx] - largest);
    sum += weights[idx];
  }
  Real mean = 0;  // of d_weights under the weights; the sink's own is zero
  for (Index idx = 0; idx < num_rows; ++idx) {
    weights[idx] /= sum;
    d_weights[idx] = dot(d_out, forward.visible_row(token, idx), width);
    mean += weights[idx] * d_weights[idx];
  }
  if (args.d_sink != nullptr) {
    args.d_sink[head] -= std::exp(sink - largest) / sum * mean;
  }
  Real* d_query = args.d_query.row(token) + head * width;
  for (Index idx = 0; idx < num_rows; ++idx) {
    const Real d_score = scale * weights[idx] * (d_weights[idx] - mean);
    const Real* row = forward.visible_row(token, idx);
    Real* d_row = args.d_visible_row(token, idx);
    for (Index i = 0; i < width; ++i) {
      d_query[i] += d_score * row[i];
      d_row[i] += d_score * query[i] + weights[idx] * d_out[i];
    }
  }
}

}  // namespace

template <typename Real>
void sink_attention_backward(const ops::SinkAttentionBackwardArgs<Real>& args,
                             platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.d_out.rows; ++token) {
    for (Index head = 0; head < to_index(args.forward.sink.size()); ++head) {
      head_backward(args, token, head);
    }
  }
}

template void sink_attention(const ops::SinkAttentionArgs<float>&, platform::ThreadPool&) noexcept;
template void sink_attention(const ops::SinkAttentionArgs<double>&, platform::ThreadPool&) noexcept;
template void sink_attention_backward(const ops::SinkAttentionBackwardArgs<float>&,
                                      platform::ThreadPool&) noexcept;
template void sink_attention_backward(const ops::SinkAttentionBackwardArgs<double>&,
                                      platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

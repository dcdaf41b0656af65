#include "fathom/compute/backends/reference/arithmetic.h"
#include "fathom/compute/backends/reference/kernels.h"

namespace fathom::reference {
namespace {

// attended[j] += what one head gives to block j; `scores` is scratch for every visible row.
template <typename Real>
void add_head(const ops::SinkAttentionArgs<Real>& args,
              Index token,
              Index head,
              Real* scores,
              Real* attended) {
  const Index width = args.window.width;
  const ops::VisibleRows& visible = args.visible[to_size(token)];
  const Index num_rows = visible.num_window_rows + visible.num_compressed_rows;
  const Real* query = args.query.row(token) + head * width;
  const auto row_of = [&](Index idx) { return args.visible_row(token, idx); };
  const Real largest = score_rows(query, row_of, num_rows, width, args.scale, scores);
  Real sum = std::exp(static_cast<Real>(args.sink[to_size(head)]) - largest);
  for (Index idx = 0; idx < num_rows; ++idx) {
    scores[idx] = std::exp(scores[idx] - largest);
    sum += scores[idx];
  }
  for (Index idx = 0; idx < visible.num_compressed_rows; ++idx) {
    attended[idx] += scores[visible.num_window_rows + idx] / sum;
  }
}

// Every number divided by the sum of all, which is returned.
template <typename Real>
Real normalise(Real* numbers, Index count) {
  Real sum = 0;
  for (Index idx = 0; idx < count; ++idx) {
    sum += numbers[idx];
  }
  for (Index idx = 0; idx < count; ++idx) {
    numbers[idx] /= sum;
  }
  return sum;
}

template <typename Real>
Real index_score(const ops::IndexerLossArgs<Real>& args, Index token, const Real* key) {
  const Index width = args.keys.width;
  Real score = 0;
  for (Index head = 0; head < args.weight.columns; ++head) {
    const Real product = dot(args.query.row(token) + head * width, key, width);
    score += std::max(product, Real{0}) * args.weight.row(token)[head];
  }
  return score;
}

// Turns scores into the logs of their softmax.
template <typename Real>
void log_softmax(Real* scores, Index count) {
  const Real largest = *std::max_element(scores, scores + count);
  Real sum = 0;
  for (Index idx = 0; idx < count; ++idx) {
    sum += std::exp(scores[idx] - largest);
  }
  const Real log_sum = largest + std::log(sum);
  for (Index idx = 0; idx < count; ++idx) {
    scores[idx] -= log_sum;
  }
}

// What the gradient of one block's score adds.
template <typename Real>
void score_backward(const ops::IndexerLossArgs<Real>& args,
                    Index token,
                    Index key_row,
                    Real d_score) {
  const Index width = args.keys.width;
  const Real* key = args.keys.row(key_row);
  Real* d_key = args.d_keys.row(key_row);
  for (Index head = 0; head < args.weight.columns; ++head) {
    const Real* query = args.query.row(token) + head * width;
    const Real product = dot(query, key, width);
    if (!(product > 0)) {
      continue;
    }
    args.d_weight.row(token)[head] += d_score * product;
    const Real d_product = d_score * args.weight.row(token)[head];
    Real* d_query = args.d_query.row(token) + head * width;
    for (Index i = 0; i < width; ++i) {
      d_query[i] += d_product * key[i];
      d_key[i] += d_product * query[i];
    }
  }
}

template <typename Real>
Real token_loss(const ops::IndexerLossArgs<Real>& args, Index token, Index count) {
  Real* attended = args.scratch.row(0);
  Real* scores = attended + count;
  std::fill_n(attended, count, Real{0});
  for (Index head = 0; head < to_index(args.attention.sink.size()); ++head) {
    add_head(args.attention, token, head, scores, attended);
  }
  if (normalise(attended, count) == 0) {
    return 0;  // every head gives all it has to the window and the sink
  }
  for (Index idx = 0; idx < count; ++idx) {
    scores[idx] = index_score(args, token, args.keys.row(args.key_row(token, idx)));
  }
  log_softmax(scores, count);
  Real loss = 0;
  for (Index idx = 0; idx < count; ++idx) {
    if (attended[idx] > 0) {
      loss += attended[idx] * (std::log(attended[idx]) - scores[idx]);
    }
  }
  if (args.d_losses != nullptr) {
    for (Index idx = 0; idx < count; ++idx) {
      score_backward(args, token, args.key_row(token, idx),
                     args.d_losses[token] * (std::exp(scores[idx]) - attended[idx]));
    }
  }
  return loss;
}

}  // namespace

template <typename Real>
void indexer_loss(const ops::IndexerLossArgs<Real>& args, platform::ThreadPool& /*pool*/) noexcept {
  for (Index token = 0; token < args.query.rows; ++token) {
    const Index count = args.attention.visible[to_size(token)].num_compressed_rows;
    args.losses[token] = count < 2 ? Real{0} : token_loss(args, token, count);
  }
}

template void indexer_loss(const ops::IndexerLossArgs<float>&, platform::ThreadPool&) noexcept;
template void indexer_loss(const ops::IndexerLossArgs<double>&, platform::ThreadPool&) noexcept;

}  // namespace fathom::reference

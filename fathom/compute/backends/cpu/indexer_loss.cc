// The lightning indexer's loss: every token by itself, then every block's key by all tokens that
// see it, so that no sum depends on the number of threads.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/indexer_loss.cc"
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

using LossArgs = ops::IndexerLossArgs<float>;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// to[i] += factor * from[i]
HWY_INLINE void add_scaled(float factor, const float* from, Index count, float* to) {
  const V factors = hn::Set(D(), factor);
  Index i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    hn::StoreU(hn::MulAdd(factors, hn::LoadU(D(), from + i), hn::LoadU(D(), to + i)), D(), to + i);
  }
  for (; i < count; ++i) {
    to[i] = std::fma(factor, from[i], to[i]);
  }
}

float largest_of(const float* numbers, Index count) {
  return std::accumulate(numbers, numbers + count, kMinusInfinity,
                         [](float a, float b) { return std::max(a, b); });
}

// Every number to exp(number - largest); their sum.
float exponentials(float* numbers, Index count, float largest) {
  const V most = hn::Set(D(), largest);
  Index i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    hn::StoreU(hn::Exp(D(), hn::Sub(hn::LoadU(D(), numbers + i), most)), D(), numbers + i);
  }
  for (; i < count; ++i) {
    numbers[i] = std::exp(numbers[i] - largest);
  }
  return std::accumulate(numbers, numbers + count, 0.0F);
}

// attended[j] += what every head gives to block j; `scores` is scratch for every visible row.
void attend(const ops::SinkAttentionArgs<float>& args,
            Index token,
            float* scores,
            float* attended) {
  const Index width = args.window.width;
  const ops::VisibleRows& visible = args.visible[to_size(token)];
  const Index num_rows = visible.num_window_rows + visible.num_compressed_rows;
  for (Index head = 0; head < to_index(args.sink.size()); ++head) {
    const float* query = args.query.row(token) + head * width;
    for (Index idx = 0; idx < num_rows; ++idx) {
      scores[idx] =
          dot(query, args.visible_row(token, idx), width) * static_cast<float>(args.scale);
    }
    const float largest = largest_of(scores, num_rows);
    const float sum =
        exponentials(scores, num_rows, largest) + std::exp(args.sink[to_size(head)] - largest);
    add_scaled(1 / sum, scores + visible.num_window_rows, visible.num_compressed_rows, attended);
  }
}

// Turns attention into probabilities; false if there is none.
bool normalise(float* numbers, Index count) {
  const float sum = std::accumulate(numbers, numbers + count, 0.0F);
  std::transform(numbers, numbers + count, numbers, [&](float number) { return number / sum; });
  return sum != 0;
}

float index_score(const LossArgs& args, Index token, const float* key) {
  const Index width = args.keys.width;
  float score = 0;
  for (Index head = 0; head < args.weight.columns; ++head) {
    const float product = dot(args.query.row(token) + head * width, key, width);
    score += std::max(product, 0.0F) * args.weight.row(token)[head];
  }
  return score;
}

// The token's loss; `scores` become the probabilities of the indexer.
float divergence(
    const LossArgs& args, Index token, Index count, const float* attended, float* scores) {
  for (Index idx = 0; idx < count; ++idx) {
    scores[idx] = index_score(args, token, args.keys.row(args.key_row(token, idx)));
  }
  const float largest = largest_of(scores, count);
  float loss = 0;
  for (Index idx = 0; idx < count; ++idx) {
    loss += attended[idx] > 0 ? attended[idx] * (std::log(attended[idx]) - scores[idx]) : 0;
  }
  const float sum = exponentials(scores, count, largest);
  for (Index idx = 0; idx < count; ++idx) {
    scores[idx] /= sum;
  }
  return loss + largest + std::log(sum);
}

// What the gradients of a token's scores add to its query and weights.
void query_backward(const LossArgs& args, Index token, Index count) {
  const Index width = args.keys.width;
  for (Index idx = 0; idx < count; ++idx) {
    const float d_score = args.d_scores.row(token)[idx];
    const float* key = args.keys.row(args.key_row(token, idx));
    for (Index head = 0; head < args.weight.columns; ++head) {
      const float product = dot(args.query.row(token) + head * width, key, width);
      if (product > 0) {
        args.d_weight.row(token)[head] += d_score * product;
        add_scaled(d_score * args.weight.row(token)[head], key, width,
                   args.d_query.row(token) + head * width);
      }
    }
  }
}

// A token's loss and the gradients of its scores.
void learn(const LossArgs& args, Index token, float* scratch) {
  const Index count = args.attention.visible[to_size(token)].num_compressed_rows;
  args.losses[token] = 0;
  if (args.d_losses != nullptr) {
    std::fill_n(args.d_scores.row(token), count, 0.0F);
  }
  if (count < 2) {
    return;
  }
  float* attended = scratch;
  float* scores = attended + count;
  std::fill_n(attended, count, 0.0F);
  attend(args.attention, token, scores, attended);
  if (!normalise(attended, count)) {
    return;
  }
  args.losses[token] = divergence(args, token, count, attended, scores);
  if (args.d_losses != nullptr) {
    for (Index idx = 0; idx < count; ++idx) {
      args.d_scores.row(token)[idx] = args.d_losses[token] * (scores[idx] - attended[idx]);
    }
    query_backward(args, token, count);
  }
}

// What one token adds to the gradients of keys in rows [first, end).
void keys_backward(const LossArgs& args, Index token, Index first, Index end) {
  const Index width = args.keys.width;
  const Index count = args.attention.visible[to_size(token)].num_compressed_rows;
  for (Index idx = 0; idx < count; ++idx) {
    const Index row = args.key_row(token, idx);
    if (row < first || row >= end) {
      continue;
    }
    const float* key = args.keys.row(row);
    const float d_score = args.d_scores.row(token)[idx];
    for (Index head = 0; head < args.weight.columns; ++head) {
      const float* query = args.query.row(token) + head * width;
      if (dot(query, key, width) > 0) {
        add_scaled(d_score * args.weight.row(token)[head], query, width, args.d_keys.row(row));
      }
    }
  }
}

}  // namespace

void indexer_loss(const LossArgs& args, platform::ThreadPool& pool) {
  constexpr Index kKeysPerTile = 16;
  const Index num_tokens = args.query.rows;
  pool.parallel_for(num_tokens,
                    [&](Index token, int thread) { learn(args, token, args.scratch.row(thread)); });
  if (args.d_losses == nullptr) {
    return;
  }
  pool.parallel_for(ceil_div(args.keys.num_rows, kKeysPerTile), [&](Index tile, int /*thread*/) {
    for (Index token = 0; token < num_tokens; ++token) {
      keys_backward(args, token, tile * kKeysPerTile, (tile + 1) * kKeysPerTile);
    }
  });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(indexer_loss);

void fill_indexer_loss(ops::KernelTable<float>& kernels, const Isa& isa) {
  ops::TrainingKernels<float>& table = kernels.training;
  table.indexer_loss = {select(HWY_DISPATCH_TABLE(indexer_loss), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

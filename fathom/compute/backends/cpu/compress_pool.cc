// Compression: the tokens of a block pooled into one row, and the way back.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/compress_pool.cc"
#include <algorithm>
#include <limits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

using PoolArgs = ops::CompressPoolArgs<float>;
using BackwardArgs = ops::CompressPoolBackwardArgs<float>;

// The tokens that one block pools, and a register of its channels: `count` of them are real.
template <typename Args>
struct Pooled {
  const Args& args;
  Index start;  // of the block's own tokens
  Index first;  // with those of the block before
  Index end;
  Index channel;
  Index count;

  Pooled(const Args& pool_args, Index block, Index first_channel, Index num_channels)
      : args(pool_args),
        start(block * pool_args.block_tokens),
        first(pool_args.has_overlap ? std::max<Index>(0, start - pool_args.block_tokens) : start),
        end(start + pool_args.block_tokens),
        channel(first_channel),
        count(num_channels) {}

  // Values, then as many gates.
  Index width() const { return args.input.width / 2; }
  Index column_of(Index token) const {
    return channel + (args.has_overlap && token >= start ? width() / 2 : 0);
  }
  HWY_INLINE V load(const float* from) const {
    if (count == kWidth) {
      return hn::LoadU(D(), from);
    }
    HWY_ALIGN float padded[kLanes] = {};
    std::copy(from, from + count, padded);
    return hn::Load(D(), padded);
  }
  HWY_INLINE void store(V numbers, float* to) const {
    HWY_ALIGN float stored[kLanes];
    hn::Store(numbers, D(), stored);
    std::copy(stored, stored + count, to);
  }
  HWY_INLINE V value(Index token) const { return load(args.input.row(token) + column_of(token)); }
  HWY_INLINE V gate(Index token) const {
    return load(args.input.row(token) + width() + column_of(token));
  }
  HWY_INLINE V largest_gate() const {
    V largest = hn::Set(D(), kMinusInfinity);
    for (Index token = first; token < end; ++token) {
      largest = hn::Max(largest, gate(token));
    }
    return largest;
  }
};

void pool_channels(const Pooled<PoolArgs>& block, float* out) {
  const V largest = block.largest_gate();
  V sum = hn::Zero(D());
  V weighted = hn::Zero(D());
  for (Index token = block.first; token < block.end; ++token) {
    const V weight = hn::Exp(D(), hn::Sub(block.gate(token), largest));
    sum = hn::Add(sum, weight);
    weighted = hn::MulAdd(weight, block.value(token), weighted);
  }
  block.store(rounded(hn::Div(weighted, sum), block.args.rounding), out);
}

// The exponentials are computed twice: they are fewer than what would have to be kept.
void pool_channels_backward(const Pooled<BackwardArgs>& block, const float* d_out) {
  const BackwardArgs& args = block.args;
  const V largest = block.largest_gate();
  V sum = hn::Zero(D());
  V weighted = hn::Zero(D());
  for (Index token = block.first; token < block.end; ++token) {
    const V weight = exp_of(hn::Sub(block.gate(token), largest));
    sum = hn::Add(sum, weight);
    weighted = hn::MulAdd(weight, block.value(token), weighted);
  }
  const V share = hn::Div(hn::Set(D(), 1.0F), sum);
  const V pooled = hn::Mul(weighted, share);
  const V gradient = hn::Mul(block.load(d_out), share);
  for (Index token = block.first; token < block.end; ++token) {
    float* d_value = args.d_input.row(token) + block.column_of(token);
    float* d_gate = d_value + block.width();
    const V d_weighted = hn::Mul(exp_of(hn::Sub(block.gate(token), largest)), gradient);
    block.store(hn::Add(block.load(d_value), d_weighted), d_value);
    block.store(hn::MulAdd(d_weighted, hn::Sub(block.value(token), pooled), block.load(d_gate)),
                d_gate);
  }
}

// body(block, channels, row of the result, first channel) for registers of channels of all blocks.
template <typename Args, typename Body>
void for_channels(
    const Args& args, Index rows, Index width, platform::ThreadPool& pool, const Body& body) {
  constexpr Index kChannelsPerTile = 64;
  const Index num_tiles = ceil_div(width, kChannelsPerTile);
  pool.parallel_for(rows * num_tiles, [&](Index tile, int /*thread*/) {
    const Index row = tile / num_tiles;
    const Index end = std::min((tile % num_tiles + 1) * kChannelsPerTile, width);
    for (Index channel = tile % num_tiles * kChannelsPerTile; channel < end; channel += kWidth) {
      body(Pooled<Args>(args, args.first_block + row, channel, std::min(kWidth, end - channel)),
           row, channel);
    }
  });
}

}  // namespace

void compress_pool(const PoolArgs& args, platform::ThreadPool& pool) {
  for_channels(args, args.out.rows, args.out.columns, pool,
               [&](const Pooled<PoolArgs>& block, Index row, Index channel) {
                 pool_channels(block, args.out.row(row) + channel);
               });
}

void compress_pool_backward(const BackwardArgs& args, platform::ThreadPool& pool) {
  for_channels(args, args.d_out.rows, args.d_out.columns, pool,
               [&](const Pooled<BackwardArgs>& block, Index row, Index channel) {
                 pool_channels_backward(block, args.d_out.row(row) + channel);
               });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(compress_pool);
HWY_EXPORT(compress_pool_backward);

void fill_compress_pool(ops::KernelTable<float>& table, const Isa& isa) {
  table.compress_pool = {select(HWY_DISPATCH_TABLE(compress_pool), isa), isa.name};
}

void fill_compress_pool_backward(ops::TrainingKernels<float>& table, const Isa& isa) {
  table.compress_pool_backward = {select(HWY_DISPATCH_TABLE(compress_pool_backward), isa),
                                  isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

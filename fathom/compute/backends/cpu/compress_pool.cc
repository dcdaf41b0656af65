// Compression: the tokens of a block pooled into one row.
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

// One register of channels of one block: `count` of them are real.
void pool_channels(const PoolArgs& args, Index block, Index channel, Index count, float* out) {
  const Index width = args.input.width / 2;  // values, then as many gates
  const Index start = block * args.block_tokens;
  const Index first = args.has_overlap ? std::max<Index>(0, start - args.block_tokens) : start;
  const auto load = [&](const float* from) {
    if (count == kWidth) {
      return hn::LoadU(D(), from);
    }
    HWY_ALIGN float padded[kLanes] = {};
    std::copy(from, from + count, padded);
    return hn::Load(D(), padded);
  };
  const auto column_of = [&](Index token) {
    return channel + (args.has_overlap && token >= start ? width / 2 : 0);
  };
  V largest = hn::Set(D(), kMinusInfinity);
  for (Index token = first; token < start + args.block_tokens; ++token) {
    largest = hn::Max(largest, load(args.input.row(token) + width + column_of(token)));
  }
  V sum = hn::Zero(D());
  V weighted = hn::Zero(D());
  for (Index token = first; token < start + args.block_tokens; ++token) {
    const float* row = args.input.row(token) + column_of(token);
    const V weight = hn::Exp(D(), hn::Sub(load(row + width), largest));
    sum = hn::Add(sum, weight);
    weighted = hn::MulAdd(weight, load(row), weighted);
  }
  HWY_ALIGN float result[kLanes];
  hn::Store(rounded(hn::Div(weighted, sum), args.rounding), D(), result);
  std::copy(result, result + count, out);
}

}  // namespace

void compress_pool(const PoolArgs& args, platform::ThreadPool& pool) {
  constexpr Index kChannelsPerTile = 64;
  const Index width = args.out.columns;
  const Index num_tiles = ceil_div(width, kChannelsPerTile);
  pool.parallel_for(args.out.rows * num_tiles, [&](Index tile, int /*thread*/) {
    const Index row = tile / num_tiles;
    const Index end = std::min((tile % num_tiles + 1) * kChannelsPerTile, width);
    for (Index channel = tile % num_tiles * kChannelsPerTile; channel < end; channel += kWidth) {
      pool_channels(args, args.first_block + row, channel, std::min(kWidth, end - channel),
                    args.out.row(row) + channel);
    }
  });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(compress_pool);

void fill_compress_pool(ops::KernelTable<float>& table, const Isa& isa) {
  table.compress_pool = {select(HWY_DISPATCH_TABLE(compress_pool), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

// Integer matrix products: 16 rows of the weight at a time, times tokens in int8 blocks.
//
// Two shapes with the same arithmetic, block by block. For one or two tokens, which wait for
// memory, rows are read as they lie (int8_rows-inl.h). For more, a panel of 512 columns is packed
// into the first-level cache and multiplied with every token of the tile (int8_panel-inl.h).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/int8_linear.cc"
#include <algorithm>
#include <limits>
#include <type_traits>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/expert_tiles.h"
#include "fathom/compute/backends/cpu/int8_panel-inl.h"
#include "fathom/compute/backends/cpu/int8_rows-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES("avx512vnni")  // which the instruction set has and Highway 1.0.3 leaves out
#endif
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

constexpr Index kTileTokens = 256;
// Panels that share one reading of the activations.
constexpr Index kMicroPanels = HWY_TARGET == HWY_AVX3_DL ? 2 : 1;
constexpr Index kMicroTokens = HWY_TARGET == HWY_AVX3_DL ? 6 : (kRegisters == 1 ? 6 : 3);
#if HWY_TARGET == HWY_AVX3_DL
constexpr Index kMostTokensAsRows = 2;
#endif

// Sums of a tile between panels: [panel][token][row].
using Sums = float[kMicroPanels][kTileTokens][kPanelRows];

#if HWY_TARGET == HWY_AVX3_DL

// sum += integer sums of the panel's blocks, scaled, for kPanels panels and kTokens tokens.
template <Index kPanels, Index kTokens>
// NOLINTNEXTLINE(readability-function-size): inlined; its arguments stay in registers
HWY_INLINE void micro(const Panel* panels,
                      const TokenRow* tokens,
                      Index first_block,
                      Index num_blocks,
                      bool has_minimum,
                      Index first_token,
                      Sums& sums) {
  const std::int8_t* x[to_size(kTokens)];
  __m512 sum[to_size(kPanels)][to_size(kTokens)];
  for (Index t = 0; t < kTokens; ++t) {
    x[t] = tokens[t].codes + first_block * kBlock;
    for (Index p = 0; p < kPanels; ++p) {
      sum[p][t] = _mm512_load_ps(sums[p][first_token + t]);
    }
  }
  for (Index block = 0; block < num_blocks; ++block) {
    __m512i whole[to_size(kPanels)][to_size(kTokens)];
    for (Index t = 0; t < kTokens; ++t) {
      const __m512i offset = _mm512_set1_epi32(-kCodeOffset * tokens[t].sums[first_block + block]);
      for (Index p = 0; p < kPanels; ++p) {
        whole[p][t] = offset;
      }
    }
#pragma GCC unroll 8
    for (Index step = 0; step < kSteps; ++step) {
      __m512i w[to_size(kPanels)];
      for (Index p = 0; p < kPanels; ++p) {
        w[p] = _mm512_load_si512(panels[p].codes[block][step]);
      }
#pragma GCC unroll 8
      for (Index t = 0; t < kTokens; ++t) {
        std::int32_t four;
        std::memcpy(&four, x[t] + block * kBlock + step * kStepColumns, sizeof(four));
        const __m512i column = _mm512_set1_epi32(four);
        for (Index p = 0; p < kPanels; ++p) {
          whole[p][t] = _mm512_dpbusd_epi32(whole[p][t], w[p], column);
        }
      }
    }
#pragma GCC unroll 8
    for (Index t = 0; t < kTokens; ++t) {
      const float x_scale = tokens[t].scales[first_block + block];
      for (Index p = 0; p < kPanels; ++p) {
        sum[p][t] =
            add_block(sum[p][t], whole[p][t], _mm512_load_ps(panels[p].scales[block]), x_scale);
        if (has_minimum) {
          sum[p][t] = add_minimum(sum[p][t], _mm512_load_ps(panels[p].minima[block]), x_scale,
                                  tokens[t].sums[first_block + block]);
        }
      }
    }
  }
  for (Index t = 0; t < kTokens; ++t) {
    for (Index p = 0; p < kPanels; ++p) {
      _mm512_store_ps(sums[p][first_token + t], sum[p][t]);
    }
  }
}

#elif HWY_TARGET == HWY_SCALAR

template <Index kPanels, Index kTokens>
// NOLINTNEXTLINE(readability-function-size): inlined; its arguments stay in registers
HWY_INLINE void micro(const Panel* panels,
                      const TokenRow* tokens,
                      Index first_block,
                      Index num_blocks,
                      bool has_minimum,
                      Index first_token,
                      Sums& sums) {
  static_assert(kPanels == 1);
  for (Index t = 0; t < kTokens; ++t) {
    float* sum = sums[0][first_token + t];
    for (Index block = 0; block < num_blocks; ++block) {
      const std::int8_t* x = tokens[t].codes + (first_block + block) * kBlock;
      const float x_scale = tokens[t].scales[first_block + block];
      const auto codes = static_cast<float>(tokens[t].sums[first_block + block]);
      for (Index row = 0; row < kPanelRows; ++row) {
        std::int32_t whole = 0;
        for (Index k = 0; k < kBlock; ++k) {
          whole += std::int32_t{panels->codes[block][k / 2][row][k % 2]} * std::int32_t{x[k]};
        }
        sum[row] += static_cast<float>(whole) * (panels->scales[block][row] * x_scale);
        if (has_minimum) {
          sum[row] += panels->minima[block][row] * (x_scale * codes);
        }
      }
    }
  }
}

#else

// Exact integer sums of 16 rows. Highway leaves open which half of a pair goes to which sum until
// both are added up at the end.
struct IntegerLanes {
  using D32 = hn::RebindToSigned<D>;
  using D16 = hn::Repartition<std::int16_t, D32>;
  HWY_INLINE IntegerLanes() {}  // NOLINT(modernize-use-equals-default): as LaneSet
  hn::Vec<D32> even[kRegisters];
  hn::Vec<D32> odd[kRegisters];
};

template <Index kPanels, Index kTokens>
// NOLINTNEXTLINE(readability-function-size): inlined; its arguments stay in registers
HWY_INLINE void micro(const Panel* panels,
                      const TokenRow* tokens,
                      Index first_block,
                      Index num_blocks,
                      bool has_minimum,
                      Index first_token,
                      Sums& sums) {
  static_assert(kPanels == 1);
  const IntegerLanes::D32 d32;
  const IntegerLanes::D16 d16;
  for (Index block = 0; block < num_blocks; ++block) {
    IntegerLanes whole[to_size(kTokens)];
    std::int16_t x[to_size(kTokens)][kBlock];
    for (Index t = 0; t < kTokens; ++t) {
      for (Index i = 0; i < kRegisters; ++i) {
        whole[t].even[i] = hn::Zero(d32);
        whole[t].odd[i] = hn::Zero(d32);
      }
      std::copy_n(tokens[t].codes + (first_block + block) * kBlock, kBlock, x[t]);
    }
    for (Index step = 0; step < kSteps; ++step) {
      for (Index i = 0; i < kRegisters; ++i) {
        const auto w = hn::LoadU(d16, panels->codes[block][step][i * kWidth]);
        for (Index t = 0; t < kTokens; ++t) {
          std::int32_t pair;
          std::memcpy(&pair, x[t] + step * kStepColumns, sizeof(pair));
          whole[t].even[i] = hn::ReorderWidenMulAccumulate(
              d32, w, hn::BitCast(d16, hn::Set(d32, pair)), whole[t].even[i], whole[t].odd[i]);
        }
      }
    }
    for (Index t = 0; t < kTokens; ++t) {
      const V x_scale = hn::Set(D(), tokens[t].scales[first_block + block]);
      const V codes = hn::Set(D(), static_cast<float>(tokens[t].sums[first_block + block]));
      float* at = sums[0][first_token + t];
      for (Index i = 0; i < kRegisters; ++i) {
        const V integer =
            hn::ConvertTo(D(), hn::RearrangeToOddPlusEven(whole[t].even[i], whole[t].odd[i]));
        const V scale = hn::Mul(hn::Load(D(), panels->scales[block] + i * kWidth), x_scale);
        V sum = hn::MulAdd(integer, scale, hn::Load(D(), at + i * kWidth));
        if (has_minimum) {
          sum = hn::MulAdd(hn::Load(D(), panels->minima[block] + i * kWidth),
                           hn::Mul(x_scale, codes), sum);
        }
        hn::Store(sum, D(), at + i * kWidth);
      }
    }
  }
}

#endif

template <Index kPanels>
// NOLINTNEXTLINE(readability-function-size): inlined; its arguments stay in registers
HWY_INLINE void multiply_panels(const Panel* panels,
                                const TokenRow* tokens,
                                Index num_tokens,
                                Index first_block,
                                Index num_blocks,
                                bool has_minimum,
                                Sums& sums) {
  Index token = 0;
  for (; token + kMicroTokens <= num_tokens; token += kMicroTokens) {
    micro<kPanels, kMicroTokens>(panels, tokens + token, first_block, num_blocks, has_minimum,
                                 token, sums);
  }
  const auto rest = [&](auto count) HWY_ATTR {
    micro<kPanels, decltype(count)::value>(panels, tokens + token, first_block, num_blocks,
                                           has_minimum, token, sums);
    token += decltype(count)::value;
  };
  if (num_tokens - token >= 4) {
    rest(std::integral_constant<Index, 4>());
  }
  if (num_tokens - token >= 2) {
    rest(std::integral_constant<Index, 2>());
  }
  if (num_tokens > token) {
    rest(std::integral_constant<Index, 1>());
  }
}

#if HWY_TARGET == HWY_AVX3_DL

// Rows [first_row, end_row) times kTokens tokens, read as they lie.
template <typename Scales, Index kTokens, typename Codes>
HWY_INLINE void read_rows(const Codes& codes,
                          const numeric::WeightView& weight,
                          Index first_row,
                          Index end_row,
                          const TokenRow* tokens) {
  for (Index row = first_row; row < end_row; row += kPanelRows) {
    __m512 sums[to_size(kTokens)];
    for (Index t = 0; t < kTokens; ++t) {
      sums[t] = _mm512_setzero_ps();
    }
    multiply_rows<Scales, kTokens>(codes, row_pointers(weight, row), weight.columns / kBlock,
                                   tokens, sums);
    const auto inside = static_cast<__mmask16>((1U << std::min(kPanelRows, end_row - row)) - 1);
    for (Index t = 0; t < kTokens; ++t) {
      _mm512_mask_storeu_ps(tokens[t].out + row, inside, sums[t]);
    }
  }
}

// One or two tokens, in the formats that models are mostly stored in; false for others.
bool compute_few(const numeric::WeightView& weight,
                 Index first_row,
                 Index end_row,
                 const TokenRow* tokens,
                 Index num_tokens) {
  if (num_tokens > kMostTokensAsRows || weight.columns % (2 * kBlock) != 0) {
    return false;
  }
  return with_block_format(weight, [&](const auto& codes, auto scales_type) HWY_ATTR {
    using Scales = typename decltype(scales_type)::type;
    if (num_tokens == 1) {
      read_rows<Scales, 1>(codes, weight, first_row, end_row, tokens);
    } else {
      read_rows<Scales, 2>(codes, weight, first_row, end_row, tokens);
    }
  });
}

#else

bool compute_few(const numeric::WeightView& /*weight*/,
                 Index /*first_row*/,
                 Index /*end_row*/,
                 const TokenRow* /*tokens*/,
                 Index /*num_tokens*/) {
  return false;
}

#endif

// Rows [first_row, end_row) of the weight times up to kTileTokens tokens.
void compute_tile(const numeric::WeightView& weight,
                  Index first_row,
                  Index end_row,
                  const TokenRow* tokens,
                  Index num_tokens) {
  if (compute_few(weight, first_row, end_row, tokens, num_tokens)) {
    return;
  }
  alignas(64) Panel panels[kMicroPanels];
  alignas(64) Sums sums;
  const Index num_blocks = weight.columns / kBlock;
  const bool has_minimum = numeric::has_int8_minimum(weight.format);
  for (Index row = first_row; row < end_row; row += kMicroPanels * kPanelRows) {
    const Index num_panels = std::min(kMicroPanels, ceil_div(end_row - row, kPanelRows));
    for (Index p = 0; p < num_panels; ++p) {
      std::fill_n(sums[p][0], num_tokens * kPanelRows, 0.0F);
    }
    for (Index first = 0; first < num_blocks; first += kPanelBlocks) {
      const Index count = std::min(kPanelBlocks, num_blocks - first);
      for (Index p = 0; p < num_panels; ++p) {
        pack_panel(weight, row + p * kPanelRows, first, count, panels[p]);
      }
      if (num_panels == 1) {
        multiply_panels<1>(panels, tokens, num_tokens, first, count, has_minimum, sums);
      } else {
        multiply_panels<kMicroPanels>(panels, tokens, num_tokens, first, count, has_minimum, sums);
      }
    }
    for (Index p = 0; p < num_panels; ++p) {
      const Index panel_row = row + p * kPanelRows;
      const Index count = std::min(kPanelRows, end_row - panel_row);
      for (Index t = 0; t < num_tokens; ++t) {
        std::copy_n(sums[p][t], count, tokens[t].out + panel_row);
      }
    }
  }
}

TokenRow token_row(const ops::Int8Rows& x, Index idx, float* out) {
  return {x.codes.row(idx), x.scales.row(idx), x.sums.row(idx), out};
}

// As numeric::round_to_int8_block, and the sum of the codes.
HWY_INLINE void round_block(const float* x, std::int8_t* codes, float& scale, std::int32_t& sum) {
  const hn::RebindToSigned<D> d32;
  const hn::Rebind<std::int8_t, D> d8;
  V most = hn::Zero(D());
  bool is_finite = true;
  for (Index i = 0; i < kBlock; i += kWidth) {
    const V value = hn::LoadU(D(), x + i);
    is_finite = is_finite && hn::AllTrue(D(), hn::IsFinite(value));
    most = hn::Max(most, hn::Abs(value));
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(D(), most));
  sum = 0;
  if (!is_finite || !(largest > numeric::kSmallestInt8Block)) {
    std::fill_n(codes, kBlock, std::int8_t{0});
    scale = is_finite ? 0.0F : std::numeric_limits<float>::quiet_NaN();
    return;
  }
  const V factor = hn::Set(D(), 127.0F / largest);
  auto total = hn::Zero(d32);
  for (Index i = 0; i < kBlock; i += kWidth) {
    const auto code = hn::NearestInt(hn::Mul(hn::LoadU(D(), x + i), factor));
    total = hn::Add(total, code);
    hn::StoreU(hn::DemoteTo(d8, code), d8, codes + i);
  }
  sum = hn::GetLane(hn::SumOfLanes(d32, total));
  scale = largest / 127.0F;
}

// Rows of a tile: long enough for memory to be read in long sweeps, short enough to share out.
constexpr Index tile_rows(Index num_rows) {
  return num_rows >= 2048 ? 128 : 32;
}

}  // namespace

void round_to_int8(const ops::RoundToInt8Args<float>& args, platform::ThreadPool& pool) {
  pool.parallel_for(args.x.rows, [&](Index row, int /*thread*/) {
    for (Index idx = 0; idx < args.x.columns / kBlock; ++idx) {
      round_block(args.x.row(row) + idx * kBlock, args.out.codes.row(row) + idx * kBlock,
                  args.out.scales.row(row)[idx], args.out.sums.row(row)[idx]);
    }
  });
}

void int8_linear(const ops::Int8LinearArgs<float>& args, platform::ThreadPool& pool) {
  const Index num_tokens = args.out.rows;
  const Index rows = tile_rows(args.weight.rows);
  const Index num_row_tiles = ceil_div(args.weight.rows, rows);
  pool.parallel_for(
      num_row_tiles * ceil_div(num_tokens, kTileTokens), [&](Index tile, int /*thread*/) {
        const Index first_row = tile % num_row_tiles * rows;
        const Index first_token = tile / num_row_tiles * kTileTokens;
        const Index count = std::min(kTileTokens, num_tokens - first_token);
        TokenRow tokens[kTileTokens];
        for (Index t = 0; t < count; ++t) {
          tokens[t] = token_row(args.x, first_token + t, args.out.row(first_token + t));
        }
        compute_tile(args.weight, first_row, std::min(first_row + rows, args.weight.rows), tokens,
                     count);
      });
}

void expert_int8_linear(const ops::ExpertInt8LinearArgs<float>& args, platform::ThreadPool& pool) {
  const auto compute = [&](const ExpertTile& tile) {
    TokenRow tokens[kTileTokens];
    for (Index t = 0; t < tile.num_slots; ++t) {
      const Index slot = tile.first_slot + t;
      const Index source = args.source.empty() ? slot : Index{args.source[to_size(slot)]};
      tokens[t] = token_row(args.x, source, args.out.row(slot));
    }
    compute_tile(args.weights[to_size(tile.expert)], tile.first_row, tile.end_row, tokens,
                 tile.num_slots);
  };
  for_each_expert_tile(pool, args.offsets, args.out.columns, tile_rows(args.out.columns),
                       kTileTokens, compute);
}

}  // namespace fathom::cpu::HWY_NAMESPACE
#if HWY_TARGET == HWY_AVX3_DL
HWY_POP_ATTRIBUTES
#endif
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(round_to_int8);
HWY_EXPORT(int8_linear);
HWY_EXPORT(expert_int8_linear);

void fill_int8_linear(ops::KernelTable<float>& table, const Isa& isa) {
  table.round_to_int8 = {select(HWY_DISPATCH_TABLE(round_to_int8), isa), isa.name};
  table.int8_linear = {select(HWY_DISPATCH_TABLE(int8_linear), isa), isa.name};
  table.expert_int8_linear = {select(HWY_DISPATCH_TABLE(expert_int8_linear), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

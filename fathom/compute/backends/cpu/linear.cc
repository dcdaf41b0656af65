// Matrix products with weights in any format, decoded to fp32 in the registers' neighbourhood.
//
// A tile is 16 rows of the weight times 48 tokens. Within it, 4 rows of a chunk of 512 columns are
// decoded to the first-level cache and multiplied with all tokens of the tile; sums wait in memory
// between chunks. Every (row, token) pair has its own lanes and sees its columns in ascending
// order, so no choice of tiles, rows or tokens changes a result. Many tokens take panels of rows
// (lane_panels-inl.h): the same sums.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/linear.cc"
#include <algorithm>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/decode-inl.h"
#include "fathom/compute/backends/cpu/e4m3_rows-inl.h"
#include "fathom/compute/backends/cpu/expert_tiles.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/lane_panels-inl.h"
#include "fathom/compute/backends/cpu/simd-inl.h"
#include "fathom/compute/ops/scalar_rows.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {

constexpr Index kTileRows = 16;
constexpr Index kTileTokens = 48;
// Fewer rows than this are shared out kDecodedRows at a time, for every thread to have some.
constexpr Index kFewRows = 128;
constexpr Index kDecodedRows = 4;
constexpr Index kChunk = 512;  // a multiple of every format's block

// How many rows and tokens fit the registers, with their lanes and one operand each.
constexpr Index kMicroRows = kRegisters == 1 ? 4 : (kRegisters == 2 ? 2 : 1);
constexpr Index kMicroTokens = kRegisters == 1 ? 6 : 3;

// Tokens that make a panel worth its packing, and how many share it.
constexpr Index kLeastPanelTokens = 32;
constexpr Index kMostPanelTokens = 512;
// Fewer rows than this are too few panels for every thread to have as much to do.
constexpr Index kManyRows = 1024;

// Sums of one tile's rows and tokens between chunks.
using Sums = float[kDecodedRows][kTileTokens][kLanes];

template <Index kRows, Index kTokens>
// NOLINTNEXTLINE(readability-function-size): inlined; its arguments stay in registers
HWY_INLINE void micro(const float* weights,
                      const float* const* x,
                      Index first,
                      Index count,
                      Index row,
                      Index token,
                      Sums& sums) {
  LaneSet acc[to_size(kRows)][to_size(kTokens)];
  for (Index r = 0; r < kRows; ++r) {
    for (Index t = 0; t < kTokens; ++t) {
      acc[r][t] = load_lanes(sums[row + r][token + t]);
    }
  }
  Index k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    LaneSet w[to_size(kRows)];
    for (Index r = 0; r < kRows; ++r) {
      w[r] = load_lanes(weights + (row + r) * kChunk + k);
    }
    for (Index t = 0; t < kTokens; ++t) {
      const LaneSet column = load_lanes(x[token + t] + first + k);
      for (Index r = 0; r < kRows; ++r) {
        multiply_add(w[r], column, acc[r][t]);
      }
    }
  }
  if (k < count) {
    for (Index t = 0; t < kTokens; ++t) {
      const LaneSet column = load_tail(x[token + t] + first + k, count - k);
      for (Index r = 0; r < kRows; ++r) {
        multiply_add(load_tail(weights + (row + r) * kChunk + k, count - k), column, acc[r][t]);
      }
    }
  }
  for (Index r = 0; r < kRows; ++r) {
    for (Index t = 0; t < kTokens; ++t) {
      store_lanes(acc[r][t], sums[row + r][token + t]);
    }
  }
}

// All tokens of the tile times kRows decoded rows, most of them kMicroTokens at a time.
template <Index kRows>
// NOLINTNEXTLINE(readability-function-size): inlined; its arguments stay in registers
HWY_INLINE void multiply_rows(const float* weights,
                              const float* const* x,
                              Index first,
                              Index count,
                              Index row,
                              Index num_tokens,
                              Sums& sums) {
  Index token = 0;
  for (; token + kMicroTokens <= num_tokens; token += kMicroTokens) {
    micro<kRows, kMicroTokens>(weights, x, first, count, row, token, sums);
  }
  for (; token + 2 <= num_tokens; token += 2) {
    micro<kRows, 2>(weights, x, first, count, row, token, sums);
  }
  if (token < num_tokens) {
    micro<kRows, 1>(weights, x, first, count, row, token, sums);
  }
}

// A row times one token, read as it lies: what waits for memory needs no decoded copy. One row from
// end to end after another: memory is read at half the rate where four take turns.
template <typename Weights>
HWY_INLINE float read_row(const numeric::WeightView& weight, Index row, const float* x) {
  const std::uint8_t* bytes = bytes_at(weight, row, 0);
  LaneSet sum = zero_lanes();
  for (Index k = 0; k < weight.columns; k += kLanes) {
    LaneSet w;
    for (Index i = 0; i < kRegisters; ++i) {
      w.v[i] = Weights::read(bytes + (k + i * kWidth) * Weights::kBytes);
    }
    multiply_add(w, load_lanes(x + k), sum);
  }
  return sum_lanes(sum);
}

template <typename Weights>
void compute_one(const numeric::WeightView& weight,
                 Index first_row,
                 Index end_row,
                 const float* x,
                 ops::Rounding rounding,
                 float* out) {
  for (Index row = first_row; row < end_row; ++row) {
    const float sum = read_row<Weights>(weight, row, x);
    out[row] = ops::rounded(sum, rounding);
  }
}

// One token in a format that needs no scale; false for others.
bool compute_one(const numeric::WeightView& weight,
                 Index first_row,
                 Index end_row,
                 const float* x,
                 ops::Rounding rounding,
                 float* out) {
  if (weight.columns % kLanes != 0) {
    return false;
  }
  switch (weight.format) {
    case numeric::WeightFormat::F32:
      compute_one<F32Weights>(weight, first_row, end_row, x, rounding, out);
      return true;
    case numeric::WeightFormat::F16:
      compute_one<F16Weights>(weight, first_row, end_row, x, rounding, out);
      return true;
    case numeric::WeightFormat::BF16:
      compute_one<Bf16Weights>(weight, first_row, end_row, x, rounding, out);
      return true;
    default:
      return false;
  }
}

// out[t][row] for rows [first_row, end_row) and up to kTileTokens tokens, row t of x at x[t].
// NOLINTNEXTLINE(readability-function-size): what both callers share, which have no common Args
void compute_tile(const numeric::WeightView& weight,
                  Index first_row,
                  Index end_row,
                  const float* const* x,
                  Index num_tokens,
                  ops::Rounding rounding,
                  float* const* out) {
  if (num_tokens == 1 && compute_one(weight, first_row, end_row, x[0], rounding, out[0])) {
    return;
  }
#if HWY_TARGET == HWY_AVX3_DL
  if (num_tokens <= kMostE4m3Tokens && has_e4m3_rows(weight)) {
    const auto multiply = num_tokens == 1   ? multiply_e4m3_rows<1>
                          : num_tokens == 2 ? multiply_e4m3_rows<2>
                                            : multiply_e4m3_rows<kMostE4m3Tokens>;
    return multiply(weight, first_row, end_row, x, num_tokens, rounding, out);
  }
#endif
  HWY_ALIGN float decoded[kDecodedRows * kChunk];
  HWY_ALIGN Sums sums;
  for (Index row = first_row; row < end_row; row += kDecodedRows) {
    const Index num_rows = std::min(kDecodedRows, end_row - row);
    for (Index r = 0; r < num_rows; ++r) {
      for (Index t = 0; t < num_tokens; ++t) {
        store_lanes(zero_lanes(), sums[r][t]);
      }
    }
    for (Index first = 0; first < weight.columns; first += kChunk) {
      const Index count = std::min(kChunk, weight.columns - first);
      const bool ends_rows = first + count == weight.columns;
      const Index next = ends_rows ? 0 : first + count;
      for (Index r = 0; r < num_rows; ++r) {
        fetch_chunk(weight, row + r + (ends_rows ? kDecodedRows : 0), next,
                    std::min(kChunk, weight.columns - next));
        decode_chunk(weight, row + r, first, count, decoded + r * kChunk);
      }
      Index r = 0;
      for (; r + kMicroRows <= num_rows; r += kMicroRows) {
        multiply_rows<kMicroRows>(decoded, x, first, count, r, num_tokens, sums);
      }
      for (; r < num_rows; ++r) {
        multiply_rows<1>(decoded, x, first, count, r, num_tokens, sums);
      }
    }
    for (Index r = 0; r < num_rows; ++r) {
      for (Index t = 0; t < num_tokens; ++t) {
        const float sum = sum_lanes(load_lanes(sums[r][t]));
        out[t][row + r] = ops::rounded(sum, rounding);
      }
    }
  }
}

// Where the rows of a product's tokens are: token t is row source[t] of x, or row t.
struct TokenRows {
  tensor::MatrixView<const float> x;
  std::span<const std::int32_t> source;
  ops::Rounding rounding;
  tensor::MatrixView<float> out;

  const float* from(Index token) const {
    return x.row(source.empty() ? token : Index{source[to_size(token)]});
  }
};

// A range of tokens.
struct TokenRange {
  Index first;
  Index end;
};

// The rows of one panel, from first_row on, for some tokens.
template <Index kVectors>
void multiply_panel(const numeric::WeightView& weight,
                    Index first_row,
                    const TokenRange& tokens,
                    const TokenRows& rows) {
  const LaneLayout layout = {weight.columns, kVectors};
  const Index num_rows = std::min(layout.rows(), weight.rows - first_row);
  alignas(64) float panel[kLanePanelNumbers];
  LaneFold<kVectors> fold;
  pack_lanes(layout, weight, first_row, num_rows, panel);
  for (Index first = tokens.first; first < tokens.end; first += kGroupRows) {
    const float* x[kGroupRows];
    const float* next[kGroupRows];
    for (Index i = 0; i < kGroupRows; ++i) {
      x[i] = rows.from(std::min(first + i, tokens.end - 1));
      next[i] = rows.from(std::min(first + i + kGroupRows, tokens.end - 1));
    }
    multiply_lanes<kVectors>(layout, panel, x, next, fold);
    for (Index i = 0; i < std::min(kGroupRows, tokens.end - first); ++i) {
      store_sums<kVectors * kWidth>(fold.levels[4] + i * kVectors * kWidth, num_rows, rows.rounding,
                                    rows.out.row(first + i) + first_row);
    }
  }
}

// How the tokens of a product are shared out: panels of rows for many, tiles of compute_tile() for
// few and for rows that no panel holds.
struct Partition {
  Partition(const numeric::WeightView& weight, Index num_tokens)
      : layout(LaneLayout::of(weight.rows, weight.columns)),
        has_panels(num_tokens >= kLeastPanelTokens && layout.vectors > 0),
        tile_rows(has_panels               ? layout.rows()
                  : weight.rows < kFewRows ? kDecodedRows
                                           : kTileRows),
        tile_tokens(!has_panels               ? kTileTokens
                    : weight.rows < kManyRows ? kMostPanelTokens / 2
                                              : kMostPanelTokens) {}

  LaneLayout layout;
  bool has_panels;
  Index tile_rows;
  Index tile_tokens;
};

// At most tile_rows rows of the weight, from first_row on, and tile_tokens tokens.
void multiply(const Partition& partition,
              const numeric::WeightView& weight,
              Index first_row,
              const TokenRange& tokens,
              const TokenRows& rows) {
  if (partition.has_panels) {
    with_constant<kPanelVectors, kLeastPanelVectors>(partition.layout.vectors, [&](auto vectors) {
      multiply_panel<vectors>(weight, first_row, tokens, rows);
    });
    return;
  }
  const float* x[kTileTokens];
  float* out[kTileTokens];
  const Index num_tokens = tokens.end - tokens.first;
  for (Index t = 0; t < num_tokens; ++t) {
    x[t] = rows.from(tokens.first + t);
    out[t] = rows.out.row(tokens.first + t);
  }
  compute_tile(weight, first_row, std::min(first_row + partition.tile_rows, weight.rows), x,
               num_tokens, rows.rounding, out);
}

}  // namespace

void linear(const ops::LinearArgs<float>& args, platform::ThreadPool& pool) {
  const Partition partition(args.weight, args.x.rows);
  const TokenRows rows = {args.x, {}, rounding_of(args.products), args.out};
  const Index num_row_tiles = ceil_div(args.weight.rows, partition.tile_rows);
  const Index num_token_tiles = ceil_div(args.x.rows, partition.tile_tokens);
  pool.parallel_for(num_row_tiles * num_token_tiles, [&](Index tile, int /*thread*/) {
    const Index first = tile / num_row_tiles * partition.tile_tokens;
    const TokenRange tokens = {first, std::min(first + partition.tile_tokens, args.x.rows)};
    multiply(partition, args.weight, tile % num_row_tiles * partition.tile_rows, tokens, rows);
  });
}

void expert_linear(const ops::ExpertLinearArgs<float>& args, platform::ThreadPool& pool) {
  // As many slots as the experts have on average decide for all of them.
  const Index num_experts = to_index(args.weights.size());
  const Partition partition(args.weights.front(), args.offsets.back() / num_experts);
  const TokenRows rows = {args.x, args.source, rounding_of(args.products), args.out};
  const auto compute = [&](const ExpertTile& tile) {
    multiply(partition, args.weights[to_size(tile.expert)], tile.first_row,
             {tile.first_slot, tile.first_slot + tile.num_slots}, rows);
  };
  for_each_expert_tile(pool, args.offsets, args.out.columns, partition.tile_rows,
                       partition.tile_tokens, compute);
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {

HWY_EXPORT(linear);
HWY_EXPORT(expert_linear);

void fill_linear(ops::KernelTable<float>& table, const Isa& isa) {
  table.linear = {select(HWY_DISPATCH_TABLE(linear), isa), isa.name};
  table.expert_linear = {select(HWY_DISPATCH_TABLE(expert_linear), isa), isa.name};
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

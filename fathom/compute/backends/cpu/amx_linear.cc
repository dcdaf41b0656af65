// Matrix products on Intel's matrix unit (AMX-BF16) where activations are BF16 numbers, weights in
// any format; other activations are linear.cc's.
//
// Weights become sums of BF16 numbers (bf16_parts-inl.h). Tokens are packed once per product into
// groups of up to 16, the columns of a tile; a task is up to 32 rows of the weight times one
// segment of up to 16 groups. It decodes a chunk of its rows into tiles of 16 rows times 32
// columns, multiplies it with every group, and keeps the sums between chunks in memory.
//
// The order of sums (docs/numerics.md) is per row and token: neither the tiles nor the chunks show.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/amx_linear.cc"
#include <algorithm>
#include <atomic>
#include <bit>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/amx.h"
#include "fathom/compute/backends/cpu/bf16_slots-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/ops/scalar_rows.h"

#if HWY_TARGET == HWY_AVX3_DL
FATHOM_BEFORE_NAMESPACE_WITH("avx512bf16,amx-tile,amx-bf16");
namespace fathom::cpu::HWY_NAMESPACE {

// Of linear.cc: what multiplies activations that are not BF16 numbers.
void linear(const ops::LinearArgs<float>& args, platform::ThreadPool& pool);
void expert_linear(const ops::ExpertLinearArgs<float>& args, platform::ThreadPool& pool);

namespace {

constexpr Index kTile = 16;  // rows of a tile of weights, slots of a group
static_assert(kTile == kGroupSlots);
constexpr Index kTaskTiles = 2;  // of rows
constexpr Index kTaskRows = kTaskTiles * kTile;
// Columns that are decoded at a time. One group waits for memory, which is fastest along a row;
// more groups use the decoded rows often enough to keep them in the first-level cache.
constexpr Index kLongChunk = 2048;
constexpr Index kShortChunk = 512;
static_assert(kShortChunk * kMostParts <= kLongChunk);

// Weights of one task: [part][row][column], each row with a block of padding, so that the rows of a
// tile lie in different sets of the first-level cache.
using DecodedRows = std::uint16_t[kTaskRows * (kLongChunk + kMostParts * kPartColumns)];
// Sums of one task: [group][tile of rows][row 16][token 16].
using Sums = float[kSegmentGroups * 2 * kTile * kTile];

// A chunk of decoded rows and of packed groups.
struct Chunk {
  const std::uint16_t* rows;
  Index row_stride;   // numbers from one row to the next
  Index part_stride;  // and from one part to the next
  Index row_parts;
  Index num_blocks;
  Index width;  // of a group

  const std::uint16_t* rows_at(Index block, Index part, Index tile) const {
    return rows + part * part_stride + tile * kTile * row_stride + block * kPartColumns;
  }
  Index row_bytes() const { return row_stride * to_index(sizeof(std::uint16_t)); }
  Index x_offset(Index block) const { return block * 2 * kTile * width; }
};
constexpr int kRowBytes = 64;

// Sums of two tiles of rows and two groups, from zero if the chunk is the row's first.
HWY_INLINE void multiply_2x2(const Chunk& chunk,
                             const std::uint16_t* const* x,
                             bool is_first,
                             float* sums) {
  constexpr Index kSums = kTile * kTile;
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the intrinsics do not say what they read
  if (is_first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, kRowBytes);
    _tile_loadd(1, sums + kSums, kRowBytes);
    _tile_loadd(2, sums + 2 * kSums, kRowBytes);
    _tile_loadd(3, sums + 3 * kSums, kRowBytes);
  }
  const Index row_bytes = chunk.row_bytes();
  for (Index block = 0; block < chunk.num_blocks; ++block) {
    for (Index i = 0; i < chunk.row_parts; ++i) {
      _tile_loadd(4, chunk.rows_at(block, i, 0), row_bytes);
      _tile_loadd(5, chunk.rows_at(block, i, 1), row_bytes);
      _tile_loadd(6, x[0] + chunk.x_offset(block), kRowBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 5, 6);
      _tile_loadd(7, x[1] + chunk.x_offset(block), kRowBytes);
      _tile_dpbf16ps(2, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, kRowBytes);
  _tile_stored(1, sums + kSums, kRowBytes);
  _tile_stored(2, sums + 2 * kSums, kRowBytes);
  _tile_stored(3, sums + 3 * kSums, kRowBytes);
}

// Sums of tile `tile` of the two tiles of rows and three groups.
HWY_INLINE void multiply_1x3(
    const Chunk& chunk, Index tile, const std::uint16_t* const* x, bool is_first, float* sums) {
  constexpr Index kGroupSums = 2 * kTile * kTile;
  sums += tile * kTile * kTile;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (is_first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
  } else {
    _tile_loadd(0, sums, kRowBytes);
    _tile_loadd(1, sums + kGroupSums, kRowBytes);
    _tile_loadd(2, sums + 2 * kGroupSums, kRowBytes);
  }
  const Index row_bytes = chunk.row_bytes();
  for (Index block = 0; block < chunk.num_blocks; ++block) {
    for (Index i = 0; i < chunk.row_parts; ++i) {
      _tile_loadd(4, chunk.rows_at(block, i, tile), row_bytes);
      const Index at = chunk.x_offset(block);
      _tile_loadd(5, x[0] + at, kRowBytes);
      _tile_dpbf16ps(0, 4, 5);
      _tile_loadd(6, x[1] + at, kRowBytes);
      _tile_dpbf16ps(1, 4, 6);
      _tile_loadd(7, x[2] + at, kRowBytes);
      _tile_dpbf16ps(2, 4, 7);
    }
  }
  _tile_stored(0, sums, kRowBytes);
  _tile_stored(1, sums + kGroupSums, kRowBytes);
  _tile_stored(2, sums + 2 * kGroupSums, kRowBytes);
}

// Sums of kTiles tiles of rows and one group, whose tiles are as narrow as it is.
template <Index kTiles>
HWY_INLINE void multiply_one_group(const Chunk& chunk,
                                   const std::uint16_t* x,
                                   bool is_first,
                                   float* sums) {
  const Index x_stride = 4 * chunk.width;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (is_first) {
    _tile_zero(0);
    _tile_zero(1);
  } else {
    _tile_loadd(0, sums, kRowBytes);
    _tile_loadd(1, sums + kTile * kTile, kRowBytes);
  }
  const Index row_bytes = chunk.row_bytes();
  for (Index block = 0; block < chunk.num_blocks; ++block) {
    for (Index i = 0; i < chunk.row_parts; ++i) {
      _tile_loadd(4, chunk.rows_at(block, i, 0), row_bytes);
      if constexpr (kTiles > 1) {
        _tile_loadd(5, chunk.rows_at(block, i, 1), row_bytes);
      }
      _tile_loadd(7, x + chunk.x_offset(block), x_stride);
      _tile_dpbf16ps(0, 4, 7);
      if constexpr (kTiles > 1) {
        _tile_dpbf16ps(1, 5, 7);
      }
    }
  }
  _tile_stored(0, sums, kRowBytes);
  _tile_stored(1, sums + kTile * kTile, kRowBytes);
}

// A chunk times all groups of a segment, the first of which is at x. Meanwhile the memory fetches
// the columns [next, next + kShortChunk) of the rows.
void multiply(
    const SegmentTask& task, const Chunk& chunk, const std::uint16_t* x, Index next, float* sums) {
  const Index num_groups = task.segment.num_groups();
  const Index group_numbers = task.slots.group_numbers();
  const bool is_first = next <= kShortChunk;
  const numeric::WeightView& weight = *task.segment.weight;
  const Index count = std::min(kShortChunk, weight.columns - next);
  const Index num_rows = count > 0 ? task.end_row - task.first_row : 0;
  constexpr Index kGroupSums = kTaskTiles * kTile * kTile;
  const std::uint16_t* groups[3];
  Index row = 0;
  for (Index group = 0; group < num_groups;) {
    const Index num = num_groups - group == 3 ? 3 : 2;
    for (Index i = 0; i < num; ++i) {
      groups[i] = x + (group + i) * group_numbers;
    }
    if (num == 3) {
      multiply_1x3(chunk, 0, groups, is_first, sums + group * kGroupSums);
      multiply_1x3(chunk, 1, groups, is_first, sums + group * kGroupSums);
    } else {
      multiply_2x2(chunk, groups, is_first, sums + group * kGroupSums);
    }
    group += num;
    for (; row < num_rows * group / num_groups; ++row) {
      fetch_chunk(weight, task.first_row + row, next, count);
    }
  }
}

// weight[row] . x in the order of linear.cc, for rows and slots with infinite or NaN numbers: a
// part of them that is NaN must not reach a result that is not.
float dot_row(const numeric::WeightView& weight, Index row, const float* x) {
  HWY_ALIGN float numbers[kShortChunk];
  LaneSet sum = zero_lanes();
  for (Index first = 0; first < weight.columns; first += kShortChunk) {
    const Index count = std::min(kShortChunk, weight.columns - first);
    decode_chunk(weight, row, first, count, numbers);
    Index k = 0;
    for (; k + kLanes <= count; k += kLanes) {
      multiply_add(load_lanes(numbers + k), load_lanes(x + first + k), sum);
    }
    if (k < count) {
      multiply_add(load_tail(numbers + k, count - k), load_tail(x + first + k, count - k), sum);
    }
  }
  return sum_lanes(sum);
}

// Writes the sums to the rows of out.
void store_sums(const SegmentTask& task, const float* sums) {
  for (Index slot = 0; slot < task.segment.num_slots; slot += kTile) {
    const Index num_tokens = std::min(kTile, task.segment.num_slots - slot);
    for (Index tile = 0; tile < kTaskTiles; ++tile, sums += kTile * kTile) {
      const Index first_row = task.first_row + tile * kTile;
      if (first_row >= task.end_row) {
        continue;
      }
      const auto mask =
          static_cast<__mmask16>((1U << std::min(kTile, task.end_row - first_row)) - 1U);
      __m512i rows[16];
      for (int row = 0; row < 16; ++row) {
        rows[row] = _mm512_loadu_si512(sums + row * kTile);
      }
      transpose(rows);
      for (Index token = 0; token < num_tokens; ++token) {
        const V values = rounded(V{_mm512_castsi512_ps(rows[token])}, task.slots.rounding);
        _mm512_mask_storeu_ps(
            task.slots.out.row(task.segment.first_slot + slot + token) + first_row, mask,
            values.raw);
      }
    }
  }
}

// Computes again what has infinite or NaN parts.
void fill_gaps(const SegmentTask& task, const bool* row_has_gaps) {
  const bool* end = row_has_gaps + task.end_row - task.first_row;
  const bool any_row_has_gaps = std::find(row_has_gaps, end, true) != end;
  for (Index slot = 0; slot < task.segment.num_slots; ++slot) {
    const bool slot_has_gaps =
        task.slots.has_gaps[task.segment.first_group + slot / kTile][slot % kTile];
    if (!slot_has_gaps && !any_row_has_gaps) {
      continue;
    }
    for (Index row = task.first_row; row < task.end_row; ++row) {
      if (slot_has_gaps || row_has_gaps[row - task.first_row]) {
        const Index slot_idx = task.segment.first_slot + slot;
        const float sum = dot_row(*task.segment.weight, row, task.slots.row(slot_idx));
        task.slots.out.row(slot_idx)[row] = ops::rounded(sum, task.slots.rounding);
      }
    }
  }
}

// Columns [first, first + count) of the task's rows. Returns their parts: one of fp32 weights that
// are BF16 numbers.
Index decode(const SegmentTask& task,
             Index first,
             Index count,
             std::uint16_t* decoded,
             const Chunk& chunk,
             bool* row_has_gaps) {
  const numeric::WeightView& weight = *task.segment.weight;
  const Index num_rows = task.end_row - task.first_row;
  Index row = 0;
  while (weight.format == numeric::WeightFormat::F32 && row < num_rows &&
         decode_if_bf16(weight, task.first_row + row, first, count,
                        decoded + row * chunk.row_stride)) {
    ++row;
  }
  if (row == num_rows) {
    return 1;
  }
  for (row = 0; row < num_rows; ++row) {
    row_has_gaps[row] |= !decode_parts(weight, task.first_row + row, first, count,
                                       decoded + row * chunk.row_stride, chunk.part_stride);
  }
  return parts_of(weight);
}

void run_task(const SegmentTask& task) {
  const Segment& segment = task.segment;
  const numeric::WeightView& weight = *segment.weight;
  const Index tiles = segment.task_rows / kTile;
  const Index row_parts = parts_of(weight);
  const bool is_one_group = segment.num_groups() == 1;
  const Index chunk_columns =
      is_one_group && row_parts < kMostParts ? kLongChunk / row_parts : kShortChunk;
  const Index num_rows = task.end_row - task.first_row;
  const std::uint16_t* x = task.slots.group(segment.first_group);
  alignas(64) DecodedRows decoded;
  alignas(64) Sums sums;
  bool row_has_gaps[kTaskRows] = {};
  TileShapes shapes = whole_tiles();
  for (const int tile : {0, 1, 2, 3, 7}) {
    shapes.row_bytes[tile] = static_cast<std::uint16_t>(4 * segment.group_width());
  }
  const TileScope scope(shapes);
  if (num_rows < tiles * kTile) {
    std::fill(std::begin(decoded), std::end(decoded), std::uint16_t{0});
  }
  const Index row_stride = chunk_columns + kPartColumns;
  Chunk chunk = {.rows = decoded,
                 .row_stride = row_stride,
                 .part_stride = kTaskRows * row_stride,
                 .row_parts = row_parts,
                 .num_blocks = 0,
                 .width = segment.group_width()};
  for (Index first = 0; first < weight.columns; first += chunk_columns) {
    const Index count = std::min(chunk_columns, weight.columns - first);
    chunk.num_blocks = ceil_div(count, kPartColumns);
    chunk.row_parts = decode(task, first, count, decoded, chunk, row_has_gaps);
    const std::uint16_t* chunk_x = x + chunk.x_offset(first / kPartColumns);
    if (!is_one_group) {
      multiply(task, chunk, chunk_x, first + chunk_columns, sums);
    } else if (tiles == 1) {
      multiply_one_group<1>(chunk, chunk_x, first == 0, sums);
    } else {
      multiply_one_group<kTaskTiles>(chunk, chunk_x, first == 0, sums);
    }
  }
  store_sums(task, sums);
  if (row_parts > 1) {  // else infinity and NaN are computed as they are
    fill_gaps(task, row_has_gaps);
  }
}

struct TileKernel {
  static constexpr Index kTaskRows = cpu::HWY_NAMESPACE::kTaskRows;
  // Half a task where tasks would be few.
  static Index task_rows(const numeric::WeightView& weight, Index num_slots) {
    return num_slots <= kTile && weight.rows <= kTaskRows ? kTile : kTaskRows;
  }
  static void run(const SegmentTask& task) { run_task(task); }
};

}  // namespace

void amx_linear(const ops::LinearArgs<float>& args, platform::ThreadPool& pool) {
  if (args.products == ops::Products::Fp32) {
    return linear(args, pool);
  }
  multiply_slots<TileKernel>(args, pool);
}

void amx_expert_linear(const ops::ExpertLinearArgs<float>& args, platform::ThreadPool& pool) {
  if (args.products == ops::Products::Fp32) {
    return expert_linear(args, pool);
  }
  multiply_expert_slots<TileKernel>(args, pool, [](const numeric::WeightView&) { return true; });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace fathom::cpu {

void fill_amx_linear([[maybe_unused]] ops::KernelTable<float>& table) {
#if (HWY_TARGETS & HWY_AVX3_DL) != 0
  table.linear.run = &N_AVX3_DL::amx_linear;
  table.expert_linear.run = &N_AVX3_DL::amx_expert_linear;
#endif
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

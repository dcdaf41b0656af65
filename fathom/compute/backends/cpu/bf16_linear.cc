// Matrix products with the instruction that adds two products of BF16 numbers to an fp32 number
// (AVX512_BF16), where activations are such numbers and weights are too, or are codes of 8 bits
// with a scale. What else is multiplied is linear.cc's: as sums of several BF16 numbers, weights
// gain nothing over fp32. Training keeps fp32 weights that it rounds to BF16 numbers: they are
// looked through, so that they give the bits of the weights that it writes.
//
// Few slots of FP8 in panels wait for memory: their codes are looked up and multiplied as they are
// read, a panel from end to end.
//
// Other slots are packed in groups (bf16_slots-inl.h). A task decodes a chunk of up to 48 rows into
// a panel, a register of 16 rows' pairs of columns after another, multiplies it with every slot,
// and keeps the sums between chunks in memory.
//
// The order of sums (docs/numerics.md) is per row and slot: neither panels nor chunks show.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/bf16_linear.cc"
#include <algorithm>
#include <atomic>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/bf16_slots-inl.h"
#include "fathom/compute/backends/cpu/isa_table.h"
#include "fathom/compute/backends/cpu/pair_panels-inl.h"

#if HWY_TARGET == HWY_AVX3_DL
FATHOM_BEFORE_NAMESPACE_WITH("avx512bf16");
namespace fathom::cpu::HWY_NAMESPACE {

// Of linear.cc.
void linear(const ops::LinearArgs<float>& args, platform::ThreadPool& pool);
void expert_linear(const ops::ExpertLinearArgs<float>& args, platform::ThreadPool& pool);

namespace {

constexpr Index kMostVectors = 3;
constexpr Index kMostRows = kMostVectors * kVectorRows;
constexpr Index kTileSlots = 8;  // with three registers of rows: 24 sums and what they multiply
constexpr Index kChunk = PairPacker::kChunk;

// [block][pair of columns][register][row 16][2]
using Panel = std::uint16_t[kMostRows * kChunk];
// [block][row]
using Scales = float[kChunk / kPartColumns * kMostRows];
// [slot][row]
using Sums = float[kSegmentGroups * kGroupSlots * kMostRows];

void pack_panel(const SegmentTask& task,
                PairPacker& packer,
                Index first,
                Index count,
                Panel& panel,
                Scales& scales) {
  const Index vectors = ceil_div(task.end_row - task.first_row, kVectorRows);
  const Index stride = vectors * kPairNumbers;
  for (Index vector = 0; vector < vectors; ++vector) {
    const Index row = vector * kVectorRows;
    packer.set(task.first_row + row, first);
    for (Index block = 0; block < ceil_div(count, kPartColumns); ++block) {
      packer.pack(first + block * kPartColumns, count - block * kPartColumns,
                  panel + block * kBlockPairs * stride + vector * kPairNumbers, stride,
                  scales + block * kMostRows + row);
    }
  }
}

// A chunk of a panel, and some slots of a group.
struct Operands {
  const std::uint16_t* panel;
  const float* scales;  // null: there are none
  Index num_blocks;
  const std::uint16_t* x;
  Index width;  // of the group
};

template <Index kVectors, Index kSlots>
struct TileSumsOfPairs {
  __m512 sums[to_size(kVectors)][to_size(kSlots)];

  HWY_INLINE void load(const float* from) {
#pragma GCC unroll 8
    for (Index s = 0; s < kSlots; ++s) {
#pragma GCC unroll 3
      for (Index v = 0; v < kVectors; ++v) {
        sums[v][s] = _mm512_loadu_ps(from + s * kMostRows + v * kVectorRows);
      }
    }
  }
  HWY_INLINE void store(float* to) const {
#pragma GCC unroll 8
    for (Index s = 0; s < kSlots; ++s) {
#pragma GCC unroll 3
      for (Index v = 0; v < kVectors; ++v) {
        _mm512_storeu_ps(to + s * kMostRows + v * kVectorRows, sums[v][s]);
      }
    }
  }
  HWY_INLINE void clear() {
#pragma GCC unroll 8
    for (Index s = 0; s < kSlots; ++s) {
#pragma GCC unroll 3
      for (Index v = 0; v < kVectors; ++v) {
        sums[v][s] = _mm512_setzero_ps();
      }
    }
  }
  // sums += the products of `count` pairs of columns.
  HWY_INLINE void add(const std::uint16_t* panel,
                      const std::uint16_t* x,
                      Index width,
                      Index count) {
    for (Index pair = 0; pair < count; ++pair) {
      __m512i rows[to_size(kVectors)];
#pragma GCC unroll 3
      for (Index v = 0; v < kVectors; ++v) {
        rows[v] = _mm512_loadu_si512(panel + (pair * kVectors + v) * kPairNumbers);
      }
#pragma GCC unroll 8
      for (Index s = 0; s < kSlots; ++s) {
        std::int32_t numbers;
        std::memcpy(&numbers, x + 2 * (pair * width + s), sizeof(numbers));
        const __m512i slot = _mm512_set1_epi32(numbers);
#pragma GCC unroll 3
        for (Index v = 0; v < kVectors; ++v) {
          sums[v][s] = _mm512_dpbf16_ps(sums[v][s], reinterpret_cast<__m512bh>(rows[v]),
                                        reinterpret_cast<__m512bh>(slot));
        }
      }
    }
  }
};

// sums[slot][row] += what the chunk adds to them.
template <Index kVectors, Index kSlots>
void multiply_tile_of_pairs(const Operands& operands, float* sums) {
  TileSumsOfPairs<kVectors, kSlots> tile;
  if (operands.scales == nullptr) {
    tile.load(sums);
    tile.add(operands.panel, operands.x, operands.width, operands.num_blocks * kBlockPairs);
    tile.store(sums);
    return;
  }
  for (Index block = 0; block < operands.num_blocks; ++block) {
    tile.clear();
    tile.add(operands.panel + block * kBlockPairs * kVectors * kPairNumbers,
             operands.x + block * kPartColumns * operands.width, operands.width, kBlockPairs);
#pragma GCC unroll 3
    for (Index v = 0; v < kVectors; ++v) {
      const Index row = v * kVectorRows;
      const __m512 scale = _mm512_loadu_ps(operands.scales + block * kMostRows + row);
#pragma GCC unroll 8
      for (Index s = 0; s < kSlots; ++s) {
        float* const sum = sums + s * kMostRows + row;
        _mm512_storeu_ps(sum, _mm512_fmadd_ps(tile.sums[v][s], scale, _mm512_loadu_ps(sum)));
      }
    }
  }
}

template <Index kVectors>
void multiply_slots_of_group(const Operands& operands, Index count, float* sums) {
  static_assert(kTileSlots == 8);
  switch (count) {
    case 1:
      return multiply_tile_of_pairs<kVectors, 1>(operands, sums);
    case 2:
      return multiply_tile_of_pairs<kVectors, 2>(operands, sums);
    case 3:
      return multiply_tile_of_pairs<kVectors, 3>(operands, sums);
    case 4:
      return multiply_tile_of_pairs<kVectors, 4>(operands, sums);
    case 5:
      return multiply_tile_of_pairs<kVectors, 5>(operands, sums);
    case 6:
      return multiply_tile_of_pairs<kVectors, 6>(operands, sums);
    case 7:
      return multiply_tile_of_pairs<kVectors, 7>(operands, sums);
    default:
      return multiply_tile_of_pairs<kVectors, 8>(operands, sums);
  }
}

// A chunk from column `first` on, times all slots of the task's segment.
template <Index kVectors>
void multiply_segment(const SegmentTask& task, Operands operands, Index first, float* sums) {
  const Segment& segment = task.segment;
  operands.width = segment.group_width();
  for (Index slot = 0; slot < segment.num_slots; slot += kTileSlots) {
    operands.x = task.slots.group(segment.first_group + slot / kGroupSlots) +
                 first * operands.width + 2 * (slot % kGroupSlots);
    multiply_slots_of_group<kVectors>(operands, std::min(kTileSlots, segment.num_slots - slot),
                                      sums + slot * kMostRows);
  }
}

void store_sums(const SegmentTask& task, const float* sums) {
  const Index num_rows = task.end_row - task.first_row;
  for (Index slot = 0; slot < task.segment.num_slots; ++slot) {
    const float* const from = sums + slot * kMostRows;
    map_row(num_rows, task.slots.out.row(task.segment.first_slot + slot) + task.first_row,
            [&](const auto& load) { return rounded(load(from), task.slots.rounding); });
  }
}

// Panels that are multiplied as they are read: a sum waits for the one before it, so several take
// turns.
constexpr Index kPanelsInTurns = 4;
constexpr Index kMostReadRows = kPanelsInTurns * kVectorRows;
static_assert(numeric::kFp8TileRows % kMostReadRows == 0);

bool is_multiplied_as_read(const numeric::WeightView& weight, Index num_slots) {
  return is_in_fp8_panels(weight) && num_slots <= kTileSlots;
}

// kPanels panels from first_row on, all in one tile of scales, times all slots of a group:
// sums[slot][row], kMostReadRows to a slot.
template <Index kPanels, Index kSlots>
void multiply_read_panels(
    const SegmentTask& task, Index first_row, E4m3Tables& tables, PairPacker& packer, float* sums) {
  constexpr Index kStepPairs = numeric::kPanelStepColumns / 2;
  const numeric::WeightView& weight = *task.segment.weight;
  const Index panel_bytes = weight.row_stride_bytes * kVectorRows;
  const std::uint8_t* codes = bytes_at(weight, first_row, 0);
  const std::uint16_t* x = task.slots.group(task.segment.first_group);
  __m512 acc[to_size(kPanels)][to_size(kSlots)];
#pragma GCC unroll 8
  for (Index s = 0; s < kSlots; ++s) {
#pragma GCC unroll 4
    for (Index p = 0; p < kPanels; ++p) {
      acc[p][s] = _mm512_setzero_ps();
    }
  }
  const auto add = [&](Index p, __m512i numbers, const std::uint16_t* pairs) HWY_ATTR {
#pragma GCC unroll 8
    for (Index s = 0; s < kSlots; ++s) {
      std::int32_t pair;
      std::memcpy(&pair, pairs + 2 * s, sizeof(pair));
      acc[p][s] = _mm512_dpbf16_ps(acc[p][s], reinterpret_cast<__m512bh>(numbers),
                                   reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair)));
    }
  };
  for (Index first = 0; first < weight.columns; first += numeric::kFp8TileColumns) {
    const Index count = std::min(numeric::kFp8TileColumns, weight.columns - first);
    const int scale = fp8_scale_code(weight, first_row, first);
    if (!is_plain_fp8_scale(scale)) [[unlikely]] {
      alignas(64) std::uint16_t numbers[kBlockPairs * kPairNumbers];
      for (Index p = 0; p < kPanels; ++p) {
        packer.set(first_row + p * kVectorRows, first);
        for (Index at = 0; at < count; at += kPartColumns) {
          packer.pack(first + at, count - at, numbers, kPairNumbers, nullptr);
          for (Index pair = 0; pair < kBlockPairs; ++pair) {
            add(p, _mm512_load_si512(numbers + pair * kPairNumbers),
                x + (first + at + 2 * pair) * kSlots);
          }
        }
      }
      continue;
    }
    const E4m3Table table = tables.of(scale);
    for (Index step = 0; step < count / numeric::kPanelStepColumns; ++step) {
      const std::uint16_t* pairs = x + (first + step * numeric::kPanelStepColumns) * kSlots;
#pragma GCC unroll 4
      for (Index p = 0; p < kPanels; ++p) {
        const std::uint8_t* at = codes + p * panel_bytes + first * kVectorRows + step * kLineBytes;
        const Bf16Bytes bytes = table.look_up(_mm512_loadu_si512(at));
        add(p, bytes.first(), pairs);
        add(p, bytes.last(), pairs + kStepPairs * kSlots);
      }
    }
  }
#pragma GCC unroll 8
  for (Index s = 0; s < kSlots; ++s) {
#pragma GCC unroll 4
    for (Index p = 0; p < kPanels; ++p) {
      _mm512_storeu_ps(sums + s * kMostReadRows + p * kVectorRows, acc[p][s]);
    }
  }
}

template <Index kSlots>
void multiply_as_read(const SegmentTask& task) {
  constexpr Index kPanels = kSlots <= 4 ? kPanelsInTurns : 2;
  const numeric::WeightView& weight = *task.segment.weight;
  E4m3Tables tables;
  PairPacker packer(weight);
  alignas(64) float sums[kSlots * kMostReadRows];
  for (Index row = task.first_row; row < task.end_row;) {
    // Not across a tile of scales, within which a slice of rows may begin anywhere.
    const Index in_tile = numeric::kFp8TileRows - (weight.first_row + row) % numeric::kFp8TileRows;
    const Index left = std::min(ceil_div(task.end_row - row, kVectorRows) * kVectorRows, in_tile);
    const bool is_full = left >= kPanels * kVectorRows;
    const Index count = is_full ? kPanels * kVectorRows : kVectorRows;
    (is_full ? &multiply_read_panels<kPanels, kSlots>
             : &multiply_read_panels<1, kSlots>)(task, row, tables, packer, sums);
    for (Index slot = 0; slot < kSlots; ++slot) {
      const float* const from = sums + slot * kMostReadRows;
      map_row(std::min(count, task.end_row - row),
              task.slots.out.row(task.segment.first_slot + slot) + row,
              [&](const auto& load) { return rounded(load(from), task.slots.rounding); });
    }
    row += count;
  }
}

void run_task_as_read(const SegmentTask& task) {
  static_assert(kTileSlots == 8);
  switch (task.segment.num_slots) {
    case 1:
      return multiply_as_read<1>(task);
    case 2:
      return multiply_as_read<2>(task);
    case 3:
      return multiply_as_read<3>(task);
    case 4:
      return multiply_as_read<4>(task);
    case 5:
      return multiply_as_read<5>(task);
    case 6:
      return multiply_as_read<6>(task);
    case 7:
      return multiply_as_read<7>(task);
    default:
      return multiply_as_read<8>(task);
  }
}

void run_task(const SegmentTask& task) {
  const numeric::WeightView& weight = *task.segment.weight;
  if (is_multiplied_as_read(weight, task.segment.num_slots)) {
    return run_task_as_read(task);
  }
  PairPacker packer(weight);
  alignas(64) Panel panel;
  alignas(64) Scales scales;
  alignas(64) Sums sums;
  std::fill_n(sums, task.segment.num_slots * kMostRows, 0.0F);
  for (Index first = 0; first < weight.columns; first += kChunk) {
    const Index count = std::min(kChunk, weight.columns - first);
    pack_panel(task, packer, first, count, panel, scales);
    const Operands operands = {.panel = panel,
                               .scales = has_code_scales(weight) ? scales : nullptr,
                               .num_blocks = ceil_div(count, kPartColumns),
                               .x = nullptr,
                               .width = 0};
    switch (ceil_div(task.end_row - task.first_row, kVectorRows)) {
      case 1:
        multiply_segment<1>(task, operands, first, sums);
        break;
      case 2:
        multiply_segment<2>(task, operands, first, sums);
        break;
      default:
        multiply_segment<kMostVectors>(task, operands, first, sums);
    }
  }
  store_sums(task, sums);
}

bool is_bf16(const numeric::WeightView& weight, Index row) {
  std::uint16_t numbers[kChunk];
  for (Index first = 0; first < weight.columns; first += kChunk) {
    if (!decode_if_bf16(weight, row, first, std::min(kChunk, weight.columns - first), numbers)) {
      return false;
    }
  }
  return true;
}

// Whether a weight is multiplied in pairs. Other fp32 weights show it in their first numbers.
bool takes_pairs(const numeric::WeightView& weight, platform::ThreadPool& pool) {
  if (weight.format != numeric::WeightFormat::F32) {
    return has_pairs(weight);
  }
  if (weight.rows == 0 || !is_bf16(weight, 0)) {
    return false;
  }
  std::atomic<bool> are_all = true;
  pool.parallel_for(ceil_div(weight.rows, kMostRows), [&](Index part, int /*thread*/) {
    const Index end = std::min((part + 1) * kMostRows, weight.rows);
    for (Index row = part * kMostRows; row < end && are_all.load(std::memory_order_relaxed);
         ++row) {
      if (!is_bf16(weight, row)) {
        are_all.store(false, std::memory_order_relaxed);
      }
    }
  });
  return are_all;
}

struct PairKernel {
  static constexpr Index kTaskRows = std::max(kMostRows, kMostReadRows);
  static Index task_rows(const numeric::WeightView& weight, Index num_slots) {
    return is_multiplied_as_read(weight, num_slots) ? kMostReadRows : kMostRows;
  }
  static void run(const SegmentTask& task) { run_task(task); }
};

}  // namespace

void bf16_linear(const ops::LinearArgs<float>& args, platform::ThreadPool& pool) {
  if (args.products == ops::Products::Fp32 || !takes_pairs(args.weight, pool)) {
    return linear(args, pool);
  }
  multiply_slots<PairKernel>(args, pool);
}

void bf16_expert_linear(const ops::ExpertLinearArgs<float>& args, platform::ThreadPool& pool) {
  if (args.products == ops::Products::Fp32) {
    return expert_linear(args, pool);
  }
  // An expert's order is its own matter, whichever others have slots.
  const auto multiply = [&] {
    return multiply_expert_slots<PairKernel>(
        args, pool, [&](const numeric::WeightView& weight) { return takes_pairs(weight, pool); });
  };
  if (!multiply()) {
    expert_linear(args, pool);  // all of them: those that take pairs once more
    multiply();
  }
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace fathom::cpu {

void fill_bf16_linear([[maybe_unused]] ops::KernelTable<float>& table) {
#if (HWY_TARGETS & HWY_AVX3_DL) != 0
  table.linear.run = &N_AVX3_DL::bf16_linear;
  table.expert_linear.run = &N_AVX3_DL::bf16_expert_linear;
#endif
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

// Matrix products with the instruction that adds two products of BF16 numbers to an fp32 number
// (AVX512_BF16), where activations are such numbers and weights are too, or are codes of 8 bits
// with a scale. What else is multiplied is linear.cc's: as sums of several BF16 numbers, weights
// gain nothing over fp32. Training keeps fp32 weights that it rounds to BF16 numbers: they are
// looked through, so that they give the bits of the weights that it writes.
//
// Slots are packed in groups (bf16_slots-inl.h). Few of them wait for memory, which reads FP8 in
// panels best as it lies (fp8_panels-inl.h). Of other products a task decodes a chunk of up to 48
// rows into a panel, a register of 16 rows' pairs of columns after another, multiplies it with
// every slot, and keeps the sums between chunks in memory.
//
// The order of sums (docs/numerics.md) is per row and slot: neither panels nor chunks show.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/bf16_linear.cc"
#include <algorithm>
#include <atomic>

#include <hwy/foreach_target.h>  // must come before highway.h

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/bf16_slots-inl.h"
#include "fathom/compute/backends/cpu/fp8_panels-inl.h"
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
struct TileSumsOfPairs : SumsOfPairs<kVectors, kSlots> {
  using SumsOfPairs<kVectors, kSlots>::sums;

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
    tile.load(sums, kMostRows);
    tile.add(operands.panel, operands.x, operands.width, operands.num_blocks * kBlockPairs);
    tile.store(sums, kMostRows);
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

// A chunk from column `first` on, times all slots of the task's segment.
template <Index kVectors>
void multiply_segment(const SegmentTask& task, Operands operands, Index first, float* sums) {
  const Segment& segment = task.segment;
  operands.width = segment.group_width();
  for (Index slot = 0; slot < segment.num_slots; slot += kTileSlots) {
    operands.x = task.slots.group(segment.first_group + slot / kGroupSlots) +
                 first * operands.width + 2 * (slot % kGroupSlots);
    with_constant<kTileSlots>(std::min(kTileSlots, segment.num_slots - slot), [&](auto num_slots) {
      multiply_tile_of_pairs<kVectors, num_slots>(operands, sums + slot * kMostRows);
    });
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

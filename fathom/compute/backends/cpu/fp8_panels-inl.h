// Panels of FP8 (numeric/weight_panels.h) times a few slots, which wait for memory: codes are
// looked up and multiplied in pairs as they are read, a panel from end to end. Sums are those of
// bf16_linear.cc, in the same order. For the target AVX3_DL alone.
#if defined(FATHOM_CPU_FP8_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_FP8_PANELS_INL_H_
#undef FATHOM_CPU_FP8_PANELS_INL_H_
#else
#define FATHOM_CPU_FP8_PANELS_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "fathom/compute/backends/cpu/bf16_slots-inl.h"
#include "fathom/compute/backends/cpu/pair_panels-inl.h"

#if HWY_TARGET == HWY_AVX3_DL
FATHOM_BEFORE_NAMESPACE_WITH("avx512bf16");
namespace fathom::cpu::HWY_NAMESPACE {

// Panels that are multiplied as they are read: a sum waits for the one before it, so several take
// turns.
inline constexpr Index kPanelsInTurns = 4;
inline constexpr Index kMostReadRows = kPanelsInTurns * kVectorRows;
static_assert(numeric::kFp8TileRows % kMostReadRows == 0);

inline bool is_multiplied_as_read(const numeric::WeightView& weight, Index num_slots) {
  return is_in_fp8_panels(weight) && num_slots <= kTileSlots;
}

template <Index kPanels, Index kSlots>
struct ReadSums : SumsOfPairs<kPanels, kSlots> {
  using SumsOfPairs<kPanels, kSlots>::sums;

  // Adds the products of a panel's numbers in two columns, `pairs` being those of the slots.
  HWY_INLINE void add(Index panel, __m512i numbers, const std::uint16_t* pairs) {
#pragma GCC unroll 8
    for (Index s = 0; s < kSlots; ++s) {
      std::int32_t pair;
      std::memcpy(&pair, pairs + 2 * s, sizeof(pair));
      sums[panel][s] = _mm512_dpbf16_ps(sums[panel][s], reinterpret_cast<__m512bh>(numbers),
                                        reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair)));
    }
  }
};

// kPanels panels from first_row on, all in one tile of scales, times all slots of a group:
// out[slot][row], kMostReadRows to a slot.
template <Index kPanels, Index kSlots>
void multiply_read_panels(
    const SegmentTask& task, Index first_row, E4m3Tables& tables, PairPacker& packer, float* out) {
  constexpr Index kStepPairs = numeric::kPanelStepColumns / 2;
  const numeric::WeightView& weight = *task.segment.weight;
  const Index panel_bytes = weight.row_stride_bytes * kVectorRows;
  const std::uint8_t* codes = bytes_at(weight, first_row, 0);
  const std::uint16_t* x = task.slots.group(task.segment.first_group);
  ReadSums<kPanels, kSlots> sums;
  sums.clear();
  for (Index first = 0; first < weight.columns; first += numeric::kFp8TileColumns) {
    const Index count = std::min(numeric::kFp8TileColumns, weight.columns - first);
    const int scale = fp8_scale_code(weight, first_row, first);
    if (!is_plain_fp8_scale(scale)) [[unlikely]] {
      alignas(64) std::uint16_t numbers[kBlockPairs * kPairNumbers];
#pragma GCC unroll 4
      for (Index p = 0; p < kPanels; ++p) {
        packer.set(first_row + p * kVectorRows, first);
        for (Index at = 0; at < count; at += kPartColumns) {
          packer.pack(first + at, count - at, numbers, kPairNumbers, nullptr);
          for (Index pair = 0; pair < kBlockPairs; ++pair) {
            sums.add(p, _mm512_load_si512(numbers + pair * kPairNumbers),
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
        sums.add(p, bytes.first(), pairs);
        sums.add(p, bytes.last(), pairs + kStepPairs * kSlots);
      }
    }
  }
  sums.store(out, kMostReadRows);
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

inline void run_task_as_read(const SegmentTask& task) {
  with_constant<kTileSlots>(task.segment.num_slots,
                            [&](auto num_slots) { multiply_as_read<num_slots>(task); });
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif  // per-target include guard

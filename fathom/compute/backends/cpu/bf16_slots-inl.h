// Products whose activations are BF16 numbers: the activations packed in groups of 16 slots, and
// the work shared out in tasks of some rows of a weight times the slots that meet it. For the
// target AVX3_DL alone.
#if defined(FATHOM_CPU_BF16_SLOTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FATHOM_CPU_BF16_SLOTS_INL_H_
#undef FATHOM_CPU_BF16_SLOTS_INL_H_
#else
#define FATHOM_CPU_BF16_SLOTS_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "fathom/base/platform/thread_pool.h"
#include "fathom/compute/backends/cpu/bf16_parts-inl.h"
#include "fathom/compute/ops/linear.h"

#if HWY_TARGET == HWY_AVX3_DL
FATHOM_BEFORE_NAMESPACE_WITH("avx512bf16");
namespace fathom::cpu::HWY_NAMESPACE {

inline constexpr Index kGroupSlots = ops::kScratchGroupSlots;
inline constexpr Index kBlockPairs = kPartColumns / 2;
static_assert(kGroupSlots == 16 && kBlockPairs == 16);  // a register's numbers of 32 bits
inline constexpr Index kSegmentGroups = 16;
inline constexpr Index kMaxGroups = ops::kScratchGroups;

// Slots that are multiplied with one matrix, packed one group after another.
struct Segment {
  const numeric::WeightView* weight;
  Index first_slot;
  Index num_slots;
  Index task_rows;    // that a task computes
  Index first_group;  // in scratch and in the flags
  Index first_task;

  Index num_groups() const { return ceil_div(num_slots, kGroupSlots); }
  // Slots that a group has room for. Groups beside others are filled up with zeros.
  Index group_width() const { return num_groups() == 1 ? num_slots : kGroupSlots; }
  Index num_tasks() const { return ceil_div(weight->rows, task_rows); }
};

// Where the rows of slots are, and room for what was packed of them.
struct Slots {
  tensor::MatrixView<const float> x;
  std::span<const std::int32_t> source;  // empty: slot s is row s
  ops::Rounding rounding;
  tensor::MatrixView<float> out;
  std::uint16_t* packed;
  // Whether a slot's numbers have infinite or NaN parts: [group][slot of the group].
  bool (*has_gaps)[kGroupSlots];

  const float* row(Index slot) const {
    return x.row(source.empty() ? slot : Index{source[to_size(slot)]});
  }
  Index num_blocks() const { return ceil_div(x.columns, kPartColumns); }
  Index group_numbers() const { return num_blocks() * kPartColumns * kGroupSlots; }
  const std::uint16_t* group(Index idx) const { return packed + idx * group_numbers(); }
};

// One block of columns of a group, [pair of columns][slot][2], from rows of 32 BF16 numbers.
HWY_INLINE void pack_block(const std::uint16_t* rows, Index width, std::uint16_t* out) {
  if (width == kGroupSlots) {
    __m512i block[16];
    for (int slot = 0; slot < 16; ++slot) {
      block[slot] = _mm512_loadu_si512(rows + slot * kPartColumns);
    }
    transpose(block);
    for (int pair = 0; pair < 16; ++pair) {
      _mm512_storeu_si512(out + pair * kPartColumns, block[pair]);
    }
    return;
  }
  for (Index slot = 0; slot < width; ++slot) {
    for (Index pair = 0; pair < kBlockPairs; ++pair) {
      std::memcpy(out + 2 * (pair * width + slot), rows + slot * kPartColumns + 2 * pair, 4);
    }
  }
}

// Packs the group of a segment: [block][pair of columns][slot][2].
inline void pack_group(const Slots& slots, const Segment& segment, Index group) {
  const Index width = segment.group_width();
  const Index first_slot = segment.first_slot + group * kGroupSlots;
  const Index num_slots = std::min(kGroupSlots, segment.num_slots - group * kGroupSlots);
  std::uint16_t* out = slots.packed + (segment.first_group + group) * slots.group_numbers();
  bool* has_gaps = slots.has_gaps[segment.first_group + group];
  std::fill_n(has_gaps, kGroupSlots, false);
  alignas(64) std::uint16_t rows[kGroupSlots * kPartColumns] = {};
  for (Index first = 0; first < slots.x.columns; first += kPartColumns) {
    const Index count = std::min(kPartColumns, slots.x.columns - first);
    for (Index slot = 0; slot < num_slots; ++slot) {
      has_gaps[slot] |= !split_decoded<1>(slots.row(first_slot + slot) + first, count,
                                          rows + slot * kPartColumns, 0);
    }
    pack_block(rows, width, out);
    out += kPartColumns * width;
  }
}

// Rows [first_row, end_row) of a segment.
struct SegmentTask {
  const Slots& slots;
  const Segment& segment;
  Index first_row;
  Index end_row;
};

// Segments whose groups fit the scratch together. A Kernel says how many rows of a weight are a
// task, task_rows(weight, num_slots), at most kTaskRows, and runs it, run(task).
template <typename Kernel>
class SegmentBatch {
 public:
  explicit SegmentBatch(const Slots& slots, platform::ThreadPool& pool)
      : slots_(slots), pool_(pool) {
    slots_.has_gaps = has_gaps_;
  }

  // Adds slots of one matrix; runs what was added before when they do not fit beside it.
  void add(const numeric::WeightView& weight, Index first_slot, Index num_slots) {
    // Few rows: shorter segments, so that there are tasks enough.
    const Index most = (weight.rows <= 2 * Kernel::kTaskRows ? 4 : kSegmentGroups) * kGroupSlots;
    for (Index done = 0; done < num_slots;) {
      const Index count = std::min(most, num_slots - done);
      if (num_groups_ + ceil_div(count, kGroupSlots) > kMaxGroups) {
        run();
      }
      Segment& segment = segments_[num_segments_++];
      segment = {.weight = &weight,
                 .first_slot = first_slot + done,
                 .num_slots = count,
                 .task_rows = Kernel::task_rows(weight, count),
                 .first_group = num_groups_,
                 .first_task = num_tasks_};
      num_groups_ += segment.num_groups();
      num_tasks_ += segment.num_tasks();
      done += count;
    }
  }

  void run() {
    if (num_groups_ > 1) {
      pool_.parallel_for(num_groups_, [&](Index group, int /*thread*/) {
        const Segment& segment = find(group, &Segment::first_group);
        pack_group(slots_, segment, group - segment.first_group);
      });
    } else if (num_groups_ == 1) {
      pack_group(slots_, segments_[0], 0);
    }
    pool_.parallel_for(num_tasks_, [&](Index task, int /*thread*/) {
      const Segment& segment = find(task, &Segment::first_task);
      const Index first_row = (task - segment.first_task) * segment.task_rows;
      Kernel::run({slots_, segment, first_row,
                   std::min(first_row + segment.task_rows, segment.weight->rows)});
    });
    num_segments_ = 0;
    num_groups_ = 0;
    num_tasks_ = 0;
  }

 private:
  // The last segment whose member is at most idx.
  const Segment& find(Index idx, Index Segment::*member) const {
    const Segment* end = segments_ + num_segments_;
    return *(std::upper_bound(
                 segments_, end, idx,
                 [&](Index value, const Segment& segment) { return value < segment.*member; }) -
             1);
  }

  Slots slots_;
  platform::ThreadPool& pool_;
  Segment segments_[kMaxGroups];
  bool has_gaps_[kMaxGroups][kGroupSlots];
  Index num_segments_ = 0;
  Index num_groups_ = 0;
  Index num_tasks_ = 0;
};

template <typename Kernel>
void multiply_slots(const ops::LinearArgs<float>& args, platform::ThreadPool& pool) {
  SegmentBatch<Kernel> batch({args.x,
                              {},
                              rounding_of(args.products),
                              args.out,
                              reinterpret_cast<std::uint16_t*>(args.scratch.data()),
                              nullptr},
                             pool);
  batch.add(args.weight, 0, args.x.rows);
  batch.run();
}

// The experts whose weights the kernel takes. Returns whether these are all that have slots.
template <typename Kernel, typename Takes>
bool multiply_expert_slots(const ops::ExpertLinearArgs<float>& args,
                           platform::ThreadPool& pool,
                           const Takes& takes) {
  SegmentBatch<Kernel> batch({args.x, args.source, rounding_of(args.products), args.out,
                              reinterpret_cast<std::uint16_t*>(args.scratch.data()), nullptr},
                             pool);
  bool takes_all = true;
  for (std::size_t expert = 0; expert < args.weights.size(); ++expert) {
    const Index first = args.offsets[expert];
    const Index count = args.offsets[expert + 1] - first;
    if (count > 0 && takes(args.weights[expert])) {
      batch.add(args.weights[expert], first, count);
    } else {
      takes_all = takes_all && count == 0;
    }
  }
  batch.run();
  return takes_all;
}

}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif  // per-target include guard

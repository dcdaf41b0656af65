// Loops of nothing but one instruction, and of nothing but reads: what this processor can do at
// most.
//
// They bound the kernels; nothing here computes a result that anyone uses.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "fathom/base/core/index.h"

namespace fathom::cpu {

// What a multiply-accumulate takes its factors from. Sums are int32 for int8, fp32 otherwise.
enum class PeakNumber { Int8, Bf16, Fp32 };

struct PeakLoop {
  std::string_view instruction;  // "vpdpbusd zmm"
  // One iteration is so many operations; a multiplication and an addition count as two.
  Index operations;
  void (*run)(Index iterations);
};

// The fastest loop of this processor; nothing where it has no instruction for such products.
std::optional<PeakLoop> peak_loop(PeakNumber number);

// Reads every byte; returns a sum so that no compiler leaves the reads out. Data need not be
// aligned.
std::uint64_t sum_bytes(std::span<const std::byte> bytes);

}  // namespace fathom::cpu

// The loops are written out as machine code in whole, so that no compiler moves their registers to
// memory: twelve independent accumulators hide the latency of an instruction on every processor we
// know. (Loops on tiles name their registers, so nothing can be moved.) The functions carry the
// instruction set that they need and are called after asking for it.
#include "fathom/compute/backends/cpu/machine_peaks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fathom/compute/backends/cpu/machine_peaks.cc"
#include <cstring>

#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <immintrin.h>
#endif

#include "fathom/compute/backends/cpu/amx.h"

HWY_BEFORE_NAMESPACE();
namespace fathom::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Eight sums, so that reads do not wait for one addition after another.
std::uint64_t sum_words(const std::byte* data, Index num_bytes) {
  const hn::ScalableTag<std::uint64_t> d;
  constexpr Index kSums = 8;
  const Index step = to_index(hn::Lanes(d) * sizeof(std::uint64_t));
  const auto load = [&](Index offset) {
    return hn::LoadU(d, reinterpret_cast<const std::uint64_t*>(data + offset));
  };
  auto sum0 = hn::Zero(d);
  auto sum1 = sum0;
  auto sum2 = sum0;
  auto sum3 = sum0;
  auto sum4 = sum0;
  auto sum5 = sum0;
  auto sum6 = sum0;
  auto sum7 = sum0;
  Index at = 0;
  for (; at + kSums * step <= num_bytes; at += kSums * step) {
    sum0 = hn::Add(sum0, load(at));
    sum1 = hn::Add(sum1, load(at + step));
    sum2 = hn::Add(sum2, load(at + 2 * step));
    sum3 = hn::Add(sum3, load(at + 3 * step));
    sum4 = hn::Add(sum4, load(at + 4 * step));
    sum5 = hn::Add(sum5, load(at + 5 * step));
    sum6 = hn::Add(sum6, load(at + 6 * step));
    sum7 = hn::Add(sum7, load(at + 7 * step));
  }
  const auto all = hn::Add(hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)),
                           hn::Add(hn::Add(sum4, sum5), hn::Add(sum6, sum7)));
  // Lane by lane: some compilers' sum over a register counts a carry as an overflow.
  std::uint64_t lanes[hn::MaxLanes(d)];
  hn::StoreU(all, d, lanes);
  std::uint64_t total = 0;
  for (std::size_t lane = 0; lane < hn::Lanes(d); ++lane) {
    total += lanes[lane];
  }
  for (; at < num_bytes; ++at) {
    total += static_cast<std::uint64_t>(data[at]);
  }
  return total;
}

}  // namespace
}  // namespace fathom::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fathom::cpu {
namespace {

HWY_EXPORT(sum_words);

#if defined(__x86_64__)

// The assembler repeats the instruction for registers 2 to 13; 0 and 1 hold the factors.
__attribute__((target("avx512f,avx512bw,avx512vnni"))) void vpdpbusd_zmm(Index iterations) {
  const int codes = 0x01010101;
  asm volatile(
      "vpbroadcastd %[codes], %%zmm0\n\t"
      "vpbroadcastd %[codes], %%zmm1\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vpdpbusd %%zmm0, %%zmm1, %%zmm\\r\n\t"
      ".endr\n\t"
      "dec %[left]\n\t"
      "jnz 1b\n\t"
      "vzeroupper"
      : [left] "+r"(iterations)
      : [codes] "r"(codes)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13");
}

__attribute__((target("avx2,avxvnni"))) void vpdpbusd_ymm(Index iterations) {
  const int codes = 0x01010101;
  asm volatile(
      "vmovd %[codes], %%xmm0\n\t"
      "vpbroadcastd %%xmm0, %%ymm0\n\t"
      "vmovdqa %%ymm0, %%ymm1\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vpxor %%ymm\\r, %%ymm\\r, %%ymm\\r\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "%{vex%} vpdpbusd %%ymm0, %%ymm1, %%ymm\\r\n\t"
      ".endr\n\t"
      "dec %[left]\n\t"
      "jnz 1b\n\t"
      "vzeroupper"
      : [left] "+r"(iterations)
      : [codes] "r"(codes)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13");
}

// Three instructions where there is no dot product: pairs to 16 bits, pairs of those to 32, a sum.
__attribute__((target("avx2"))) void vpmaddubsw_ymm(Index iterations) {
  const int codes = 0x01010101;
  asm volatile(
      "vmovd %[codes], %%xmm0\n\t"
      "vpbroadcastd %%xmm0, %%ymm0\n\t"
      "vmovdqa %%ymm0, %%ymm1\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vpxor %%ymm\\r, %%ymm\\r, %%ymm\\r\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vpmaddubsw %%ymm0, %%ymm1, %%ymm15\n\t"
      "vpmaddwd %%ymm15, %%ymm1, %%ymm15\n\t"
      "vpaddd %%ymm15, %%ymm\\r, %%ymm\\r\n\t"
      ".endr\n\t"
      "dec %[left]\n\t"
      "jnz 1b\n\t"
      "vzeroupper"
      : [left] "+r"(iterations)
      : [codes] "r"(codes)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13", "xmm15");
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) void vdpbf16ps_zmm(Index iterations) {
  const int codes = 0x3f803f80;  // 1 and 1
  asm volatile(
      "vpbroadcastd %[codes], %%zmm0\n\t"
      "vpbroadcastd %[codes], %%zmm1\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vdpbf16ps %%zmm0, %%zmm1, %%zmm\\r\n\t"
      ".endr\n\t"
      "dec %[left]\n\t"
      "jnz 1b\n\t"
      "vzeroupper"
      : [left] "+r"(iterations)
      : [codes] "r"(codes)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13");
}

__attribute__((target("avx512f"))) void vfmadd_zmm(Index iterations) {
  const int half = 0x3f000000;  // sums approach 1
  asm volatile(
      "vpbroadcastd %[half], %%zmm0\n\t"
      "vpbroadcastd %[half], %%zmm1\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vfmadd213ps %%zmm0, %%zmm1, %%zmm\\r\n\t"
      ".endr\n\t"
      "dec %[left]\n\t"
      "jnz 1b\n\t"
      "vzeroupper"
      : [left] "+r"(iterations)
      : [half] "r"(half)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13");
}

__attribute__((target("avx2,fma"))) void vfmadd_ymm(Index iterations) {
  const int half = 0x3f000000;
  asm volatile(
      "vmovd %[half], %%xmm0\n\t"
      "vpbroadcastd %%xmm0, %%ymm0\n\t"
      "vmovdqa %%ymm0, %%ymm1\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vpxor %%ymm\\r, %%ymm\\r, %%ymm\\r\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "vfmadd213ps %%ymm0, %%ymm1, %%ymm\\r\n\t"
      ".endr\n\t"
      "dec %[left]\n\t"
      "jnz 1b\n\t"
      "vzeroupper"
      : [left] "+r"(iterations)
      : [half] "r"(half)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13");
}

// What every x86-64 has: a multiplication and an addition.
void mulps_addps_xmm(Index iterations) {
  const int half = 0x3f000000;
  asm volatile(
      "movd %[half], %%xmm0\n\t"
      "pshufd $0, %%xmm0, %%xmm0\n\t"
      "movaps %%xmm0, %%xmm1\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "pxor %%xmm\\r, %%xmm\\r\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
      "mulps %%xmm1, %%xmm\\r\n\t"
      "addps %%xmm0, %%xmm\\r\n\t"
      ".endr\n\t"
      "dec %[left]\n\t"
      "jnz 1b"
      : [left] "+r"(iterations)
      : [half] "r"(half)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13");
}

// A product of tiles takes as long as about eight of the loops above, so one stands for eight of
// their iterations.
constexpr Index kIterationsPerTiles = 8;
constexpr Index kTileOperations = 4 * 16 * 16 * 2 / kIterationsPerTiles;  // per byte of a row

__attribute__((target("amx-tile,amx-int8"))) void tdpbssd_tiles(Index iterations) {
  const TileScope scope(whole_tiles());
  for (Index i = 0; i < iterations; i += kIterationsPerTiles) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
}

__attribute__((target("amx-tile,amx-bf16"))) void tdpbf16ps_tiles(Index iterations) {
  const TileScope scope(whole_tiles());
  for (Index i = 0; i < iterations; i += kIterationsPerTiles) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

std::optional<PeakLoop> find_loop(PeakNumber number) {
  __builtin_cpu_init();
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  switch (number) {
    case PeakNumber::Int8:
      if (has_amx()) {
        return PeakLoop{"tdpbssd", kTileOperations * 64, &tdpbssd_tiles};
      }
      if (has_avx512 && __builtin_cpu_supports("avx512vnni")) {
        return PeakLoop{"vpdpbusd zmm", 12 * 64 * 2, &vpdpbusd_zmm};
      }
      if (__builtin_cpu_supports("avxvnni")) {
        return PeakLoop{"vpdpbusd ymm", 12 * 32 * 2, &vpdpbusd_ymm};
      }
      if (__builtin_cpu_supports("avx2")) {
        return PeakLoop{"vpmaddubsw + vpmaddwd + vpaddd ymm", 12 * 32 * 2, &vpmaddubsw_ymm};
      }
      return std::nullopt;
    case PeakNumber::Bf16:
      if (has_amx()) {
        return PeakLoop{"tdpbf16ps", kTileOperations * 32, &tdpbf16ps_tiles};
      }
      if (has_avx512 && __builtin_cpu_supports("avx512bf16")) {
        return PeakLoop{"vdpbf16ps zmm", 12 * 32 * 2, &vdpbf16ps_zmm};
      }
      return std::nullopt;
    case PeakNumber::Fp32:
      if (has_avx512) {
        return PeakLoop{"vfmadd zmm", 12 * 16 * 2, &vfmadd_zmm};
      }
      if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return PeakLoop{"vfmadd ymm", 12 * 8 * 2, &vfmadd_ymm};
      }
      return PeakLoop{"mulps + addps xmm", 12 * 4 * 2, &mulps_addps_xmm};
  }
  return std::nullopt;
}

#elif defined(__aarch64__)

// Registers 0 and 1 hold the factors, 16 to 27 the sums; the words are 1 in their format, 1/2 for
// fp32, whose sums approach 1.
__attribute__((target("arch=armv8.2-a+dotprod"))) void sdot(Index iterations) {
  asm volatile(
      "movi v0.16b, #1\n\t"
      "movi v1.16b, #1\n\t"
      ".irp r,16,17,18,19,20,21,22,23,24,25,26,27\n\t"
      "movi v\\r\\().4s, #0\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,16,17,18,19,20,21,22,23,24,25,26,27\n\t"
      "sdot v\\r\\().4s, v0.16b, v1.16b\n\t"
      ".endr\n\t"
      "subs %[left], %[left], #1\n\t"
      "b.ne 1b"
      : [left] "+r"(iterations)
      :
      : "cc", "v0", "v1", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25",
        "v26", "v27");
}

// Two instructions for 8 products where there is no dot product.
void smull_sadalp(Index iterations) {
  asm volatile(
      "movi v0.16b, #1\n\t"
      "movi v1.16b, #1\n\t"
      ".irp r,16,17,18,19,20,21,22,23,24,25,26,27\n\t"
      "movi v\\r\\().4s, #0\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,16,17,18,19,20,21,22,23,24,25,26,27\n\t"
      "smull v2.8h, v0.8b, v1.8b\n\t"
      "sadalp v\\r\\().4s, v2.8h\n\t"
      ".endr\n\t"
      "subs %[left], %[left], #1\n\t"
      "b.ne 1b"
      : [left] "+r"(iterations)
      :
      : "cc", "v0", "v1", "v2", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24",
        "v25", "v26", "v27");
}

__attribute__((target("arch=armv8.2-a+bf16"))) void bfdot(Index iterations) {
  asm volatile(
      "movi v0.8h, #0x3f, lsl #8\n\t"
      "movi v1.8h, #0x3f, lsl #8\n\t"
      ".irp r,16,17,18,19,20,21,22,23,24,25,26,27\n\t"
      "movi v\\r\\().4s, #0\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,16,17,18,19,20,21,22,23,24,25,26,27\n\t"
      "bfdot v\\r\\().4s, v0.8h, v1.8h\n\t"
      ".endr\n\t"
      "subs %[left], %[left], #1\n\t"
      "b.ne 1b"
      : [left] "+r"(iterations)
      :
      : "cc", "v0", "v1", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25",
        "v26", "v27");
}

void fmla(Index iterations) {
  asm volatile(
      "fmov v0.4s, #0.5\n\t"
      "fmov v1.4s, #0.5\n\t"
      ".irp r,16,17,18,19,20,21,22,23,24,25,26,27\n\t"
      "movi v\\r\\().4s, #0\n\t"
      ".endr\n\t"
      "1:\n\t"
      ".irp r,16,17,18,19,20,21,22,23,24,25,26,27\n\t"
      "fmla v\\r\\().4s, v0.4s, v1.4s\n\t"
      ".endr\n\t"
      "subs %[left], %[left], #1\n\t"
      "b.ne 1b"
      : [left] "+r"(iterations)
      :
      : "cc", "v0", "v1", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25",
        "v26", "v27");
}

std::optional<PeakLoop> find_loop(PeakNumber number) {
  constexpr unsigned long kHasDot = 1UL << 20;   // HWCAP_ASIMDDP
  constexpr unsigned long kHasBf16 = 1UL << 14;  // HWCAP2_BF16
  switch (number) {
    case PeakNumber::Int8:
      if ((getauxval(AT_HWCAP) & kHasDot) != 0) {
        return PeakLoop{"sdot", 12 * 16 * 2, &sdot};
      }
      return PeakLoop{"smull + sadalp", 12 * 8 * 2, &smull_sadalp};
    case PeakNumber::Bf16:
      if ((getauxval(AT_HWCAP2) & kHasBf16) != 0) {
        return PeakLoop{"bfdot", 12 * 8 * 2, &bfdot};
      }
      return std::nullopt;
    case PeakNumber::Fp32:
      return PeakLoop{"fmla", 12 * 4 * 2, &fmla};
  }
  return std::nullopt;
}

#else

std::optional<PeakLoop> find_loop(PeakNumber /*number*/) {
  return std::nullopt;
}

#endif

}  // namespace

std::optional<PeakLoop> peak_loop(PeakNumber number) {
  return find_loop(number);
}

std::uint64_t sum_bytes(std::span<const std::byte> bytes) {
  return HWY_DYNAMIC_DISPATCH(sum_words)(bytes.data(), to_index(bytes.size()));
}

}  // namespace fathom::cpu
#endif  // HWY_ONCE

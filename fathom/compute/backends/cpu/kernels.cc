#include "fathom/compute/backends/cpu/kernels.h"

#include <algorithm>
#include <array>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "fathom/base/core/error.h"
#include "fathom/compute/backends/cpu/amx.h"
#include "fathom/compute/backends/cpu/isa_table.h"

namespace fathom::cpu {
namespace {

// Every instruction set that Highway compiles for one of our machines, and what some processors
// have beside one; best first.
constexpr std::array<Isa, 14> kIsas = {{
    {.name = "cpu:amx", .target = HWY_AVX3_DL, .has_amx = true},
    {.name = "cpu:avx3_bf16", .target = HWY_AVX3_DL, .has_bf16 = true},
    {"cpu:avx3_dl", HWY_AVX3_DL},  // AVX-512 with VNNI
    {"cpu:avx3", HWY_AVX3},
    {.name = "cpu:avx2_vnni", .target = HWY_AVX2, .has_dot = true},
    {"cpu:avx2", HWY_AVX2},
    {"cpu:sse4", HWY_SSE4},
    {"cpu:ssse3", HWY_SSSE3},
    {.name = "cpu:neon_i8mm", .target = HWY_NEON, .has_dot = true, .has_i8mm = true},
    {.name = "cpu:neon_dot", .target = HWY_NEON, .has_dot = true},
    {"cpu:neon", HWY_NEON},
    {"cpu:wasm", HWY_WASM},
    {"cpu:emu128", HWY_EMU128},
    {"cpu:scalar", HWY_SCALAR},
}};
constexpr std::string_view kPrefix = "cpu:";

bool has_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

bool has_dot() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avxvnni") != 0;
#elif defined(__aarch64__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return false;
#endif
}

bool has_i8mm() {
#if defined(__aarch64__)
  return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
#else
  return false;
#endif
}

bool is_available(const Isa& isa) {
  return (hwy::SupportedTargets() & HWY_TARGETS & isa.target) != 0 && (!isa.has_amx || has_amx()) &&
         (!isa.has_bf16 || has_bf16()) && (!isa.has_dot || has_dot()) &&
         (!isa.has_i8mm || has_i8mm());
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : kIsas) {
    if (is_available(isa)) {
      names.emplace_back(isa.name.substr(kPrefix.size()));
    }
  }
  return names;
}

bool multiplies_pairs(std::string_view backend) {
  return std::any_of(kIsas.begin(), kIsas.end(),
                     [&](const Isa& isa) { return isa.name == backend && isa.has_bf16; });
}

void fill(ops::KernelTable<float>& table, std::string_view isa) {
  for (const Isa& candidate : kIsas) {
    if (candidate.name.substr(kPrefix.size()) == isa && is_available(candidate)) {
      fill_linear(table, candidate);
      if (candidate.has_amx) {
        fill_amx_linear(table);
      }
      if (candidate.has_bf16) {
        fill_bf16_linear(table);
      }
      fill_int8_linear(table, candidate);
      fill_sink_attention(table, candidate);
      fill_grouped_attention(table, candidate);
      fill_index_select(table, candidate);
      if (candidate.has_dot) {
        fill_int8_linear_dot(table);
      }
      if (candidate.has_i8mm) {
        fill_int8_linear_i8mm(table);
      }
      fill_compress_pool(table, candidate);
      fill_indexer_loss(table, candidate);
      fill_rows(table, candidate);
      fill_round_trip(table, candidate);
      fill_linear_backward(table.training, candidate);
      if (candidate.has_amx) {
        fill_amx_linear_backward(table.training);
      }
      fill_cross_entropy(table.training, candidate);
      fill_embed_backward(table.training, candidate);
      fill_hyper_control(table, candidate);
      fill_rows_backward(table.training, candidate);
      fill_sink_attention_backward(table.training, candidate);
      fill_compress_pool_backward(table.training, candidate);
      fill_grouped_attention_backward(table.training, candidate);
      fill_hyper_control_backward(table.training, candidate);
      return;
    }
  }
  fail(ErrorCode::Unsupported, "this machine cannot run instruction set ", isa);
}

}  // namespace fathom::cpu

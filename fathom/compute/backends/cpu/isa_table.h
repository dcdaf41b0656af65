// Choosing one instruction set's version of a kernel, without global state.
#pragma once

#include <string_view>

#include <hwy/highway.h>

#include "fathom/compute/ops/kernel_table.h"

namespace fathom::cpu {

// One of the instruction sets that the kernels were compiled for.
struct Isa {
  std::string_view name;  // "cpu:avx3"
  std::int64_t target;    // Highway's bit; kernels without a version of their own use its
  // Beside the target's instructions:
  bool has_amx = false;   // tiles of int8 and of BF16
  bool has_bf16 = false;  // products of two pairs of BF16 numbers
  bool has_dot = false;   // products of bytes, which AVX3_DL has anyway
  bool has_i8mm = false;  // products of matrices of bytes
};

// The function of a HWY_EXPORT table that was compiled for the instruction set.
template <typename Table>
auto select(const Table& table, const Isa& isa) {
  hwy::ChosenTarget chosen;
  chosen.Update(isa.target);
  return table[chosen.GetIndex()];
}

// Each file of kernels fills its own entries.
void fill_linear(ops::KernelTable<float>& table, const Isa& isa);
void fill_cross_entropy(ops::TrainingKernels<float>& table, const Isa& isa);
void fill_embed_backward(ops::TrainingKernels<float>& table, const Isa& isa);
void fill_linear_backward(ops::TrainingKernels<float>& table, const Isa& isa);
// Of an Isa that has_amx.
void fill_amx_linear(ops::KernelTable<float>& table);
void fill_amx_linear_backward(ops::TrainingKernels<float>& table);
// Of an Isa that has_bf16.
void fill_bf16_linear(ops::KernelTable<float>& table);
void fill_int8_linear(ops::KernelTable<float>& table, const Isa& isa);
// Of an Isa that has_dot.
void fill_int8_linear_dot(ops::KernelTable<float>& table);
// Of an Isa that has_i8mm.
void fill_int8_linear_i8mm(ops::KernelTable<float>& table);
void fill_sink_attention(ops::KernelTable<float>& table, const Isa& isa);
void fill_grouped_attention(ops::KernelTable<float>& table, const Isa& isa);
void fill_index_select(ops::KernelTable<float>& table, const Isa& isa);
void fill_compress_pool(ops::KernelTable<float>& table, const Isa& isa);
void fill_indexer_loss(ops::KernelTable<float>& table, const Isa& isa);
void fill_rows(ops::KernelTable<float>& table, const Isa& isa);
void fill_round_trip(ops::KernelTable<float>& table, const Isa& isa);
void fill_hyper_control(ops::KernelTable<float>& table, const Isa& isa);
void fill_rows_backward(ops::TrainingKernels<float>& table, const Isa& isa);
void fill_sink_attention_backward(ops::TrainingKernels<float>& table, const Isa& isa);
void fill_compress_pool_backward(ops::TrainingKernels<float>& table, const Isa& isa);
void fill_grouped_attention_backward(ops::TrainingKernels<float>& table, const Isa& isa);
void fill_hyper_control_backward(ops::TrainingKernels<float>& table, const Isa& isa);

}  // namespace fathom::cpu

// The CPU backend: threaded kernels, vectorised with Highway, for every instruction set from one
// source. Results do not depend on the number of threads.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/compute/ops/kernel_table.h"

namespace fathom::cpu {

// Instruction sets this machine has, best first: "amx", "avx3_dl", "avx3", "avx2", ...
std::vector<std::string> available_isas();

// Overwrites the entries of `table` that this backend has, for one of available_isas().
void fill(ops::KernelTable<float>& table, std::string_view isa);

// Whether an instruction set ("cpu:avx3_bf16") multiplies BF16 numbers in pairs of columns.
bool multiplies_pairs(std::string_view backend);

}  // namespace fathom::cpu

#include "fathom/compute/backends/cpu/kernels.h"

namespace fathom::cpu {

std::vector<std::string> available_isas() {
  return {"none"};
}

void fill(ops::KernelTable<float>& /*table*/, std::string_view /*isa*/) {}

}  // namespace fathom::cpu

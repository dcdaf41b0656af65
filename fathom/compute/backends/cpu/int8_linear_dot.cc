// The kernels of int8_linear.cc for processors that have products of bytes beside AVX2 (AVX-VNNI)
// or NEON (dotprod).
#define FATHOM_CPU_WITH_DOT
#include "fathom/compute/backends/cpu/int8_linear.cc"  // NOLINT(bugprone-suspicious-include)

// The kernels of int8_linear.cc for processors that have products of matrices of bytes beside NEON
// (i8mm).
#define FATHOM_CPU_WITH_I8MM
#include "fathom/compute/backends/cpu/int8_linear.cc"  // NOLINT(bugprone-suspicious-include)

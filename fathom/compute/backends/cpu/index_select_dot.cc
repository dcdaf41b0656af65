// The scores of index_select.cc by 8-bit codes, for processors that have products of bytes beside
// AVX2 (AVX-VNNI) or NEON (dotprod).
#define FATHOM_CPU_WITH_DOT
#include "fathom/compute/backends/cpu/index_select.cc"  // NOLINT(bugprone-suspicious-include)

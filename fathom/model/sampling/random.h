// Random numbers as a function of (seed, choice, position): Philox-4x32-10, a counter-based
// generator without state.
//
// The token at a position is drawn with the same number whatever was computed before, in which
// batch and on how many threads; a speculative draft and its check draw alike.
#pragma once

#include <array>
#include <cstdint>

#include "fathom/base/core/index.h"

namespace fathom::sampling {

// The generator itself (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key);

// Uniform in [0, 1), a multiple of 2^-53. `choice_idx` numbers the replies to one request (n > 1),
// `position` the tokens of a reply.
double uniform(std::uint64_t seed, Index choice_idx, Index position);

}  // namespace fathom::sampling

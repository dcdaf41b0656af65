// Choosing the largest numbers of a row, with one tie rule for the whole house.
#pragma once

#include <algorithm>
#include <cmath>

#include "fathom/base/core/index.h"

namespace fathom::ops {

// True if candidate a is chosen before b: the higher score, then the lower index. A NaN loses
// against every number, so that the order stays total.
template <typename Real>
bool is_chosen_before(const Real* scores, std::int32_t a, std::int32_t b) {
  const bool a_is_nan = std::isnan(scores[a]);
  const bool b_is_nan = std::isnan(scores[b]);
  if (a_is_nan || b_is_nan) {
    return a_is_nan == b_is_nan ? a < b : b_is_nan;
  }
  return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
}

// out[0, k) = the k best of scores[0, count), ascending, padded with -1. All when count <= k, and
// then scores is not read. Allocates nothing.
template <typename Real>
void select_top_k(const Real* scores, Index count, Index k, std::int32_t* out) {
  const Index num_chosen = std::min(count, k);
  for (Index idx = 0; idx < num_chosen; ++idx) {
    out[idx] = static_cast<std::int32_t>(idx);
  }
  std::fill(out + num_chosen, out + k, -1);
  if (count <= k) {
    return;
  }
  // A heap of the best so far with the worst of them at the front.
  const auto before = [scores](std::int32_t a, std::int32_t b) {
    return is_chosen_before(scores, a, b);
  };
  std::make_heap(out, out + k, before);
  for (Index idx = k; idx < count; ++idx) {
    const auto candidate = static_cast<std::int32_t>(idx);
    if (before(candidate, out[0])) {
      std::pop_heap(out, out + k, before);
      out[k - 1] = candidate;
      std::push_heap(out, out + k, before);
    }
  }
  std::sort(out, out + k);
}

}  // namespace fathom::ops

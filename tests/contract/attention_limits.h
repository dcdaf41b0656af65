// How far the gradients of attention may be from the reference's in double.
#pragma once

#include <vector>

#include "tests/contract/backward.h"

namespace fathom::testing {

inline double largest_norm(const std::vector<float>& rows, Index width) {
  double largest = 0;
  for (Index row = 0; row < to_index(rows.size()) / width; ++row) {
    largest = std::max(largest, norm_of(rows.data() + row * width, width));
  }
  return largest;
}

// How far the gradients of attention may be off: exponents are dot products known to the error of
// their sums, weights sum to at most 1, and a row meets so many heads of so many tokens.
struct AttentionLimits {
  Index width;
  Index most_rows;
  Index num_heads_per_row;  // of all tokens together
  double scale;
  double query_norm;
  double key_norm;
  double value_norm;
  double d_out_norm;
  double most_query;  // single numbers
  double most_key;
  double most_d_out;

  double relative() const {
    const double exponent = query_norm * key_norm * scale;
    return exp_relative_limit(2 * exponent, 2 * rounding_limit(width, exponent)) +
           rounding_limit(2 * most_rows + width, 1);
  }
  double d_weight() const { return d_out_norm * value_norm; }
  double sums() const { return std::sqrt(static_cast<double>(num_heads_per_row)); }
  double d_query() const { return 4 * relative() * scale * d_weight() * most_key; }
  double d_key() const { return 4 * relative() * scale * d_weight() * most_query * sums(); }
  double d_value() const { return 2 * relative() * most_d_out * sums(); }
};

}  // namespace fathom::testing

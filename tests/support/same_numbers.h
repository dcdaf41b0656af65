// Comparing what weights of different layouts or formats say.
#pragma once

#include <vector>

#include <gtest/gtest.h>

#include "fathom/compute/numeric/weight_format.h"

namespace fathom::testing {

// Fails unless both decode to the same numbers, row by row. `expected` and `found` are [rows,
// columns].
inline void expect_same_numbers(const numeric::WeightView& found,
                                const numeric::WeightView& expected) {
  ASSERT_EQ(found.rows, expected.rows);
  ASSERT_EQ(found.columns, expected.columns);
  std::vector<float> numbers(to_size(found.columns));
  std::vector<float> expected_numbers(to_size(expected.columns));
  for (Index row = 0; row < expected.rows; ++row) {
    numeric::decode_row(expected, row, 0, expected.columns, expected_numbers.data());
    numeric::decode_row(found, row, 0, found.columns, numbers.data());
    ASSERT_EQ(numbers, expected_numbers) << "row " << row;
  }
}

}  // namespace fathom::testing

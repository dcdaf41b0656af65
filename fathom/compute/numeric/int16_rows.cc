#include "fathom/compute/numeric/int16_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fathom::numeric {

float round_to_int16_row(const float* x, Index width, std::int16_t* codes) noexcept {
  float largest = 0;
  bool is_finite = true;
  for (Index i = 0; i < width; ++i) {
    is_finite = is_finite && std::isfinite(x[i]);
    largest = std::max(largest, std::abs(x[i]));
  }
  if (!is_finite || !(largest > kSmallestRowNumber)) {
    std::fill_n(codes, width, std::int16_t{0});
    return is_finite ? 0.0F : std::numeric_limits<float>::quiet_NaN();
  }
  const float factor = kLargestRowCode / largest;
  for (Index i = 0; i < width; ++i) {
    codes[i] = static_cast<std::int16_t>(std::nearbyint(x[i] * factor));
  }
  return largest / kLargestRowCode;
}

void write_int16_row(const float* x, Index width, std::int16_t* row) noexcept {
  const float scale = round_to_int16_row(x, width, row);
  std::fill(row + width, row + int16_row_codes(width), std::int16_t{0});
  std::memcpy(row + int16_row_codes(width), &scale, sizeof(scale));
}

}  // namespace fathom::numeric

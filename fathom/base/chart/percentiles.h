// An uncertain quantity, as charts and studies say it.
#pragma once

namespace fathom::chart {

// One time in ten it is below p10, every second time below p50, nine times in ten below p90. All
// equal: known exactly.
struct Percentiles {
  double p10 = 0;
  double p50 = 0;
  double p90 = 0;
  static Percentiles exactly(double value) { return {value, value, value}; }
  bool is_exact() const { return p10 == p50 && p50 == p90; }
  friend bool operator==(const Percentiles&, const Percentiles&) = default;
};

}  // namespace fathom::chart

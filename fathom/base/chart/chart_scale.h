// Axes of charts: where ticks lie, where a value lies between them, and numbers as text.
#pragma once

#include <string>
#include <vector>

namespace fathom::chart {

// Four significant digits at most, with k, M, G, T or m, u: "1.84G", "0.6", "12k". For labels, not
// for figures that somebody computes with.
std::string short_number(double value);

// Maps values to pixels: in a line, or in the line of their logarithms.
class Scale {
 public:
  enum class Kind { Linear, Logarithmic };
  enum class Ends {
    Ticks,  // [low, high] widened to whole ticks
    Data,   // as they are, ticks only between them
  };
  // A logarithmic scale needs low > 0. Equal ends are moved apart.
  Scale(Kind kind, double low, double high, Ends ends = Ends::Ticks);
  // The place of `value` between 0 (low end) and 1 (high end); values beyond an end lie on it.
  double place(double value) const;
  const std::vector<double>& ticks() const { return ticks_; }
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  double place_unbounded(double value) const;

  Kind kind_;
  std::vector<double> ticks_;  // ascending
  double low_;
  double high_;
};

}  // namespace fathom::chart

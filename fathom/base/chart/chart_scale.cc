#include "fathom/base/chart/chart_scale.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "fathom/base/core/error.h"

namespace fathom::chart {
namespace {

constexpr int kWantedSteps = 5;
// With fewer whole decades than this, 2 and 5 times them are ticks as well.
constexpr int kDecadesWithoutSteps = 3;

// 1, 2 or 5 times a power of ten, so that about kWantedSteps of it cover the range.
double nice_step(double range) {
  const double raw = range / kWantedSteps;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power * (1 + 1e-9)) {
      return factor * power;
    }
  }
  return 10 * power;
}

std::vector<double> linear_ticks(double low, double high) {
  if (low == high) {
    const double room = low == 0 ? 1 : std::abs(low) / 2;
    low -= low == 0 ? 0 : room;
    high += room;
  }
  const double step = nice_step(high - low);
  const double first = std::floor(low / step + 1e-9);
  const auto num_steps = static_cast<int>(std::ceil(high / step - 1e-9) - first);
  std::vector<double> ticks;
  for (int idx = 0; idx <= num_steps; ++idx) {
    ticks.push_back((first + idx) * step);
  }
  return ticks;
}

std::vector<double> logarithmic_ticks(double low, double high) {
  const auto first = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const int last = std::max(first + 1, static_cast<int>(std::ceil(std::log10(high) - 1e-9)));
  std::vector<double> ticks;
  for (int decade = first; decade <= last; ++decade) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double tick = factor * std::pow(10, decade);
      if (factor == 1 || (last - first <= kDecadesWithoutSteps && decade < last)) {
        ticks.push_back(tick);
      }
    }
  }
  // What lies wholly outside is left out: the ends need not be decades.
  while (ticks.size() > 2 && ticks[1] <= low * (1 + 1e-9)) {
    ticks.erase(ticks.begin());
  }
  while (ticks.size() > 2 && ticks[ticks.size() - 2] >= high * (1 - 1e-9)) {
    ticks.pop_back();
  }
  return ticks;
}

}  // namespace

std::string short_number(double value) {
  if (!std::isfinite(value)) {
    return value > 0 ? "infinite" : value < 0 ? "-infinite" : "none";
  }
  struct Unit {
    double size;
    const char* name;
  };
  constexpr std::array kUnits = {Unit{1e12, "T"}, Unit{1e9, "G"},  Unit{1e6, "M"}, Unit{1e3, "k"},
                                 Unit{1, ""},     Unit{1e-3, "m"}, Unit{1e-6, "u"}};
  const double magnitude = std::abs(value);
  if (magnitude == 0) {
    return "0";
  }
  for (const Unit& unit : kUnits) {
    // From 0.01 on, numbers are read more easily without a prefix. The limit is that of rounding.
    const double least = unit.size == 1 ? 0.01 : unit.size * 0.99995;
    if (magnitude >= least || &unit == &kUnits.back()) {
      return fmt::format("{:.4g}{}", value / unit.size, unit.name);
    }
  }
  return fmt::format("{:.4g}", value);
}

Scale::Scale(Kind kind, double low, double high, Ends ends) : kind_(kind) {
  FATHOM_CHECK(std::isfinite(low) && std::isfinite(high) && low <= high);
  FATHOM_CHECK(kind == Kind::Linear || low > 0);
  ticks_ = kind == Kind::Linear ? linear_ticks(low, high) : logarithmic_ticks(low, high);
  low_ = ticks_.front();
  high_ = ticks_.back();
  if (ends == Ends::Data && low < high) {
    constexpr double kTolerance = 1e-9;
    low_ = low;
    high_ = high;
    std::erase_if(ticks_, [&](double tick) {
      return place_unbounded(tick) < -kTolerance || place_unbounded(tick) > 1 + kTolerance;
    });
  }
}

double Scale::place_unbounded(double value) const {
  return kind_ == Kind::Linear ? (value - low_) / (high_ - low_)
                               : std::log(value / low_) / std::log(high_ / low_);
}

double Scale::place(double value) const {
  return place_unbounded(std::clamp(value, low_, high_));
}

}  // namespace fathom::chart

#include "fathom/train/optim/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "fathom/base/core/error.h"

namespace fathom::optim {
namespace {

template <typename Value>
struct NamedValue {
  Value value;
  std::string_view name;
};

constexpr auto kKinds = std::to_array<NamedValue<ScheduleKind>>({
    {ScheduleKind::Constant, "constant"},
    {ScheduleKind::Cosine, "cosine"},
    {ScheduleKind::Wsd, "wsd"},
});

constexpr auto kCurves = std::to_array<NamedValue<DecayCurve>>({
    {DecayCurve::Linear, "linear"},
    {DecayCurve::Cosine, "cosine"},
    {DecayCurve::OneMinusSqrt, "1-sqrt"},
});

template <typename Rows, typename Value>
std::string_view name_in(const Rows& rows, Value value) {
  for (const auto& row : rows) {
    if (row.value == value) {
      return row.name;
    }
  }
  fail(ErrorCode::Internal, "value ", static_cast<int>(value), " of a schedule has no name");
}

template <typename Value, std::size_t kCount>
std::optional<Value> find_in(const std::array<NamedValue<Value>, kCount>& rows,
                             std::string_view name) {
  for (const auto& row : rows) {
    if (row.name == name) {
      return row.value;
    }
  }
  return std::nullopt;
}

double curve_at(DecayCurve curve, double progress) {
  switch (curve) {
    case DecayCurve::Linear:
      return 1 - progress;
    case DecayCurve::Cosine:
      return (1 + std::cos(std::numbers::pi * progress)) / 2;
    case DecayCurve::OneMinusSqrt:
      return 1 - std::sqrt(progress);
  }
  return 0;
}

void require_rate(std::string_view option, double value, double most) {
  if (!(value >= 0 && value <= most)) {
    fail(ErrorCode::InvalidArgument, "schedule: ", option, ": ", value, ", expected 0 to ", most);
  }
}

void require_steps(std::string_view option, Index value, Index most) {
  if (value < 0 || value > most) {
    fail(ErrorCode::InvalidArgument, "schedule: ", option, ": ", value, " steps, expected 0 to ",
         most);
  }
}

}  // namespace

std::string_view to_string(ScheduleKind kind) {
  return name_in(kKinds, kind);
}
std::optional<ScheduleKind> schedule_kind_from_name(std::string_view name) {
  return find_in(kKinds, name);
}
std::string_view to_string(DecayCurve curve) {
  return name_in(kCurves, curve);
}
std::optional<DecayCurve> decay_curve_from_name(std::string_view name) {
  return find_in(kCurves, name);
}

void check_schedule(const ScheduleOptions& options) {
  constexpr double kMostRate = 1000;
  require_rate("peak", options.peak, kMostRate);
  require_rate("end", options.end, options.peak);
  if (options.num_steps < 1) {
    fail(ErrorCode::InvalidArgument, "schedule: ", options.num_steps,
         " steps in all, expected at least 1");
  }
  require_steps("warmup_steps", options.warmup_steps, options.num_steps);
  if (options.kind == ScheduleKind::Wsd) {
    require_steps("decay_steps", options.decay_steps, options.num_steps - options.warmup_steps);
  }
}

Index first_decay_step(const ScheduleOptions& options) {
  switch (options.kind) {
    case ScheduleKind::Constant:
      break;
    case ScheduleKind::Cosine:
      return options.warmup_steps;
    case ScheduleKind::Wsd:
      return options.num_steps - options.decay_steps;
  }
  return options.num_steps;
}

double learning_rate(const ScheduleOptions& options, Index step) {
  if (step < options.warmup_steps) {
    return options.peak * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  }
  const Index first = first_decay_step(options);
  const Index count = options.num_steps - first;
  if (step < first || count == 0) {
    return options.peak;
  }
  const double progress =
      static_cast<double>(std::min(step - first, count)) / static_cast<double>(count);
  const DecayCurve curve =
      options.kind == ScheduleKind::Cosine ? DecayCurve::Cosine : options.curve;
  return options.end + (options.peak - options.end) * curve_at(curve, progress);
}

}  // namespace fathom::optim

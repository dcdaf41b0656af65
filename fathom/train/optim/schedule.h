// The learning rate of a step: linear warm-up, then constant, cosine or warm-up-stable-decay.
//
// Architecture specification 6.4: V4 warms up for 2,000 steps, stays constant and decays by a
// cosine near the end (Wsd with DecayCurve::Cosine here).
#pragma once

#include <optional>
#include <string_view>

#include "fathom/base/core/index.h"

namespace fathom::optim {

enum class ScheduleKind {
  Constant,  // the peak, after warm-up
  Cosine,    // half a cosine from the peak to the end, from warm-up to the last step
  Wsd,       // the peak; the last decay_steps follow the curve to the end
};
std::string_view to_string(ScheduleKind kind);  // "constant", "cosine", "wsd"
std::optional<ScheduleKind> schedule_kind_from_name(std::string_view name);

// From the peak (p = 0) to the end (p = 1); 1 means the peak, 0 the end.
enum class DecayCurve {
  Linear,        // 1 - p
  Cosine,        // (1 + cos(pi p)) / 2
  OneMinusSqrt,  // 1 - sqrt(p) (Haegele et al., "Scaling laws beyond fixed training durations")
};
std::string_view to_string(DecayCurve curve);  // "linear", "cosine", "1-sqrt"
std::optional<DecayCurve> decay_curve_from_name(std::string_view name);

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::Wsd;
  double peak = 3e-4;      // learning rate
  double end = 3e-5;       // reached where step num_steps would be
  Index num_steps = 0;     // of the run
  Index warmup_steps = 0;  // step i of them has (i + 1) / warmup_steps of the peak
  Index decay_steps = 0;   // Wsd only
  DecayCurve curve = DecayCurve::OneMinusSqrt;  // Wsd only
};

// Throws InvalidArgument naming the option and what was expected.
void check_schedule(const ScheduleOptions& options);

// Of step `step`, counted from 0; from num_steps on, the rate it ended with.
double learning_rate(const ScheduleOptions& options, Index step);

// The first step below the peak: from there V4 weighs its MTP loss less (specification 6.3).
// num_steps for a constant rate.
Index first_decay_step(const ScheduleOptions& options);

}  // namespace fathom::optim

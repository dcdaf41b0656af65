#include "fathom/train/loop/spike_guard.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::train {
namespace {

constexpr std::array<std::pair<Verdict, std::string_view>, 4> kNames = {
    {{Verdict::Good, "good"},
     {Verdict::LossSpike, "loss spike"},
     {Verdict::NormSpike, "gradient spike"},
     {Verdict::NotFinite, "not a finite number"}}};

// Median deviations of a normal distribution are this much smaller than standard ones.
constexpr double kNormalDeviation = 1.4826;
// A plateau's deviations may be as good as nothing, which would make a spike of any rise. Norms
// vary by much more than losses do from batch to batch.
constexpr double kSmallestLossDeviation = 0.01;  // of the median
constexpr double kSmallestNormDeviation = 0.2;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double limit_of(const std::deque<double>& window, double deviations, double smallest) {
  const double centre = median({window.begin(), window.end()});
  std::vector<double> distances;
  for (const double value : window) {
    distances.push_back(std::abs(value - centre));
  }
  const double deviation =
      std::max(kNormalDeviation * median(std::move(distances)), smallest * std::abs(centre));
  return centre + deviations * deviation;
}

}  // namespace

std::string_view to_string(Verdict verdict) {
  return std::find_if(kNames.begin(), kNames.end(),
                      [&](const auto& row) { return row.first == verdict; })
      ->second;
}

SpikeGuard::SpikeGuard(const GuardOptions& options) : options_(options) {
  const auto check = [](const char* name, bool is_right, const char* expected) {
    if (!is_right) {
      fail(ErrorCode::InvalidArgument, "guard: ", name, ": expected ", expected);
    }
  };
  check("window_steps", options.window_steps >= 1, "at least 1");
  check("min_steps", options.min_steps >= 1 && options.min_steps <= options.window_steps,
        "at least 1 and at most the window");
  check("deviations", options.deviations >= 0, "at least 0");
  check("steps_in_a_row", options.steps_in_a_row >= 1, "at least 1");
  check("max_rollbacks", options.max_rollbacks >= 0, "at least 0");
}

bool SpikeGuard::has_limits() const {
  return options_.deviations > 0 && to_index(losses_.size()) >= options_.min_steps;
}

double SpikeGuard::loss_limit() const {
  return has_limits() ? limit_of(losses_, options_.deviations, kSmallestLossDeviation)
                      : std::numeric_limits<double>::infinity();
}

double SpikeGuard::norm_limit() const {
  return has_limits() ? limit_of(norms_, options_.deviations, kSmallestNormDeviation)
                      : std::numeric_limits<double>::infinity();
}

Verdict SpikeGuard::judge(double loss, double gradient_norm) const {
  if (!std::isfinite(loss) || !std::isfinite(gradient_norm)) {
    return Verdict::NotFinite;
  }
  if (loss > loss_limit()) {
    return Verdict::LossSpike;
  }
  return gradient_norm > norm_limit() ? Verdict::NormSpike : Verdict::Good;
}

void SpikeGuard::accept(double loss, double gradient_norm) {
  losses_.push_back(loss);
  norms_.push_back(gradient_norm);
  if (to_index(losses_.size()) > options_.window_steps) {
    losses_.pop_front();
    norms_.pop_front();
  }
}

SpikeGuard::History SpikeGuard::history() const {
  return {{losses_.begin(), losses_.end()}, {norms_.begin(), norms_.end()}};
}

void SpikeGuard::restore(const History& history) {
  losses_.assign(history.losses.begin(), history.losses.end());
  norms_.assign(history.norms.begin(), history.norms.end());
}

}  // namespace fathom::train

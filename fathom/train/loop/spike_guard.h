// Tells steps that would do harm: losses and gradient norms far above those of the steps before.
//
// Robust on purpose: limits come from medians and median deviations over a window, which single
// outliers cannot move. Only what is too high counts.
#pragma once

#include <deque>
#include <limits>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::train {

struct GuardOptions {
  // Steps that limits are taken from, and how many there must be before there are any.
  Index window_steps = 100;
  Index min_steps = 20;
  // Deviations above the median that are too many; 0: only what is no finite number is refused.
  double deviations = 10;
  // Refused steps in a row after which the state itself is taken to be bad: the run goes back to
  // its last checkpoint ...
  Index steps_in_a_row = 3;
  // ... and so often, without getting further than before, until it gives up.
  Index max_rollbacks = 3;
};

enum class Verdict { Good, LossSpike, NormSpike, NotFinite };
std::string_view to_string(Verdict verdict);

class SpikeGuard {
 public:
  // Throws InvalidArgument naming the option.
  explicit SpikeGuard(const GuardOptions& options);

  // A step with this mean loss and this gradient norm, before its update.
  Verdict judge(double loss, double gradient_norm) const;
  // The update was made: limits follow.
  void accept(double loss, double gradient_norm);

  // The largest that is let through; infinite where there is no limit.
  double loss_limit() const;
  double norm_limit() const;

  // What a checkpoint keeps: the window, oldest first.
  struct History {
    std::vector<double> losses;
    std::vector<double> norms;
    friend bool operator==(const History&, const History&) = default;
  };
  History history() const;
  void restore(const History& history);

 private:
  bool has_limits() const;

  GuardOptions options_;
  std::deque<double> losses_;
  std::deque<double> norms_;
};

}  // namespace fathom::train

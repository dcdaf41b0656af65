// Seconds of a step from the work it is made of and what a machine can do: a sum over the kinds of
// work, each at a measured share of the machine's limit.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "fathom/study/plan/machine.h"
#include "fathom/study/plan/model_work.h"
#include "fathom/study/plan/percentiles.h"

namespace fathom::plan {

// Seconds that amounts of work would take at the machine's limits, kind by kind. Bytes are of a
// working set that is read again and again, so that small models are read from caches.
Amounts seconds_at_limits(const Machine& machine, const Amounts& amounts, double working_set_bytes);

// What is missing in the machine's figures for predicting speed; empty if nothing is.
std::string missing_for_speed(const Machine& machine);

class SpeedModel {
 public:
  // The machine must lack nothing.
  explicit SpeedModel(Machine machine);

  // Of work that reads `working_set_bytes` again and again; `extra_s` is added to it.
  Percentiles seconds(const Amounts& amounts, double working_set_bytes, double extra_s = 0) const;

  const Machine& machine() const { return machine_; }

 private:
  static constexpr std::size_t kNumDraws = 512;
  struct Draw {
    double read;     // factor of the time of what memory limits
    double compute;  // of what products limit
    double start;    // of what threads wait for each other limits
    Amounts kinds;   // of each kind of work
    double whole;    // what the sum does not explain

    double of(std::size_t work) const;  // what limits a kind of work
  };

  Machine machine_;
  Amounts inverse_efficiencies_;
  std::vector<Draw> draws_;
};

// Tokens per second where so many tokens take so many seconds.
Percentiles rate_of(double num_tokens, const Percentiles& seconds);

}  // namespace fathom::plan

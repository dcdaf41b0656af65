// What training a model takes: operations, hours of accelerators and money.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"

namespace fathom::plan {

// A run whose hours were published.
struct PublishedPart {
  std::string_view name;
  Index gpu_hours;
};
struct PublishedTraining {
  std::string_view model;
  std::span<const PublishedPart> parts;
  Index usd_per_gpu_hour;
  double active_parameters;
  double tokens;  // of the first part, pre-training
  std::string_view accelerator;
  double dense_peak_flop_per_s;  // of one, BF16
  std::string_view source;
  Index gpu_hours() const;
  Index usd() const;
  double pre_training_flop() const;           // 6ND
  double flop_per_s_per_accelerator() const;  // of pre-training, reached
  double utilisation() const;                 // of the dense peak
};
// DeepSeek-V3, the only one that DeepSeek published.
const PublishedTraining& deepseek_v3_training();

// What a training figure holds and what it leaves out.
std::span<const std::string_view> included_in_training_cost();
std::span<const std::string_view> excluded_from_training_cost();

// A run to reckon with.
struct TrainingPlan {
  std::string name = {};
  double tokens = 0;
  double flop_per_token = 0;  // 6 x active parameters, or training_flop_per_token
  std::string flop_basis;     // which of them
  // Either what one accelerator reaches ...
  double reached_flop_per_s = 0;
  // ... or its peak and the share of it that is reached.
  double peak_flop_per_s = 0;
  double utilisation = 0;
  double usd_per_gpu_hour = 0;  // 0: hours, but no money
  std::string hardware_basis;
  Index num_accelerators = 0;  // 0: no time on a calendar
};
struct TrainingEstimate {
  double flop = 0;
  double reached_flop_per_s = 0;  // of one accelerator
  double gpu_hours = 0;
  double usd = 0;   // 0 where no price of an hour was given
  double days = 0;  // 0 where no number of accelerators was given
};
// Throws InvalidArgument naming field and unit for what is not positive, a utilisation above 1, and
// a speed given twice or not at all.
TrainingEstimate estimate(const TrainingPlan& plan);

// Runs of V4 that nobody published: labelled scenarios in every output.
struct TrainingScenario {
  std::string_view model;
  std::string_view name;
  TrainingPlan plan;
  std::string_view source;
};
std::vector<TrainingScenario> v4_scenarios();

}  // namespace fathom::plan

#include "fathom/study/plan/training_cost.h"

#include <array>
#include <cmath>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/study/plan/flops.h"

namespace fathom::plan {
namespace {

constexpr double kSecondsPerHour = 3600;
constexpr double kHoursPerDay = 24;
constexpr double kTera = 1e12;

constexpr std::array kV3Parts = {PublishedPart{"pre-training, 14.8T tokens", 2'664'000},
                                 PublishedPart{"context extension", 119'000},
                                 PublishedPart{"post-training", 5'000}};

constexpr std::array<std::string_view, 3> kIncluded = {
    "accelerator hours of the one run that was kept, at a rental price",
    "pre-training; for DeepSeek-V3 also context extension and post-training",
    "what the utilisation holds: communication, pipeline bubbles, recomputation",
};
constexpr std::array<std::string_view, 7> kExcluded = {
    "prior research and ablations on architectures, algorithms and data (DeepSeek's own words)",
    "buying hardware, building and cooling where an hour is not rented",
    "salaries",
    "data: collecting, licensing, cleaning, synthesising",
    "failed and restarted runs",
    "earlier models, and models that taught or judged",
    "reinforcement learning of reasoning models (for DeepSeek-V3: R1's)",
};

struct V4Model {
  std::string_view name;
  double active_parameters;  // as published
  double tokens;
  double bridge_flop_per_s;  // Megatron-Bridge, per GB300
  std::string_view bridge_source;
};
constexpr std::array kV4Models = {
    V4Model{"v4-flash", 13e9, 32e12, 758 * kTera,
            "NVIDIA-NeMo/Megatron-Bridge PR 5290; tokens: arXiv 2606.19348"},
    V4Model{"v4-pro", 49e9, 33e12, 996 * kTera,
            "NVIDIA-NeMo/Megatron-Bridge PR 4808; tokens: arXiv 2606.19348"},
};

void check_positive(const char* field, const char* unit, double value) {
  if (!(value > 0) || !std::isfinite(value)) {
    fail(ErrorCode::InvalidArgument, field, ": found ", value, ", expected above 0 ", unit);
  }
}

void check_not_negative(const char* field, const char* unit, double value) {
  if (!(value >= 0) || !std::isfinite(value)) {
    fail(ErrorCode::InvalidArgument, field, ": found ", value, ", expected at least 0 ", unit);
  }
}

double reached_flop_per_s(const TrainingPlan& plan) {
  check_not_negative("reached_flop_per_s", "FLOP/s", plan.reached_flop_per_s);
  if (plan.reached_flop_per_s > 0) {
    if (plan.peak_flop_per_s != 0 || plan.utilisation != 0) {
      fail(
          ErrorCode::InvalidArgument,
          "reached_flop_per_s: found beside peak_flop_per_s and utilisation, expected one of both");
    }
    return plan.reached_flop_per_s;
  }
  check_positive("peak_flop_per_s", "FLOP/s", plan.peak_flop_per_s);
  if (!(plan.utilisation > 0 && plan.utilisation <= 1)) {
    fail(ErrorCode::InvalidArgument, "utilisation: found ", plan.utilisation,
         ", expected above 0, at most 1 (share of peak_flop_per_s)");
  }
  return plan.peak_flop_per_s * plan.utilisation;
}

}  // namespace

Index PublishedTraining::gpu_hours() const {
  Index hours = 0;
  for (const PublishedPart& part : parts) {
    hours += part.gpu_hours;
  }
  return hours;
}

Index PublishedTraining::usd() const {
  return gpu_hours() * usd_per_gpu_hour;
}

double PublishedTraining::pre_training_flop() const {
  return rule_of_thumb_training_flop(active_parameters, tokens);
}

double PublishedTraining::flop_per_s_per_accelerator() const {
  return pre_training_flop() / (static_cast<double>(parts.front().gpu_hours) * kSecondsPerHour);
}

double PublishedTraining::utilisation() const {
  return flop_per_s_per_accelerator() / dense_peak_flop_per_s;
}

const PublishedTraining& deepseek_v3_training() {
  static constexpr PublishedTraining kV3 = {
      .model = "DeepSeek-V3",
      .parts = kV3Parts,
      .usd_per_gpu_hour = 2,
      .active_parameters = 37e9,
      .tokens = 14.8e12,
      .accelerator = "H800",
      .dense_peak_flop_per_s = 989 * kTera,
      .source = "DeepSeek-V3 technical report, arXiv 2412.19437, table 1 and section 1",
  };
  return kV3;
}

std::span<const std::string_view> included_in_training_cost() {
  return kIncluded;
}

std::span<const std::string_view> excluded_from_training_cost() {
  return kExcluded;
}

TrainingEstimate estimate(const TrainingPlan& plan) {
  check_positive("tokens", "tokens", plan.tokens);
  check_positive("flop_per_token", "FLOP per token", plan.flop_per_token);
  check_not_negative("usd_per_gpu_hour", "US dollars per accelerator and hour",
                     plan.usd_per_gpu_hour);
  if (plan.num_accelerators < 0) {
    fail(ErrorCode::InvalidArgument, "num_accelerators: found ", plan.num_accelerators,
         ", expected at least 0");
  }
  TrainingEstimate estimate;
  estimate.reached_flop_per_s = reached_flop_per_s(plan);
  estimate.flop = plan.flop_per_token * plan.tokens;
  estimate.gpu_hours = estimate.flop / estimate.reached_flop_per_s / kSecondsPerHour;
  estimate.usd = estimate.gpu_hours * plan.usd_per_gpu_hour;
  if (plan.num_accelerators > 0) {
    estimate.days = estimate.gpu_hours / static_cast<double>(plan.num_accelerators) / kHoursPerDay;
  }
  return estimate;
}

std::vector<TrainingScenario> v4_scenarios() {
  const PublishedTraining& v3 = deepseek_v3_training();
  std::vector<TrainingScenario> scenarios;
  for (const V4Model& model : kV4Models) {
    TrainingPlan plan;
    plan.tokens = model.tokens;
    plan.flop_per_token = rule_of_thumb_training_flop(model.active_parameters, 1);
    plan.flop_basis = fmt::format("6ND with the published {:g}B active parameters",
                                  model.active_parameters / 1e9);
    plan.reached_flop_per_s = v3.flop_per_s_per_accelerator();
    plan.usd_per_gpu_hour = static_cast<double>(v3.usd_per_gpu_hour);
    plan.hardware_basis = "H800 as DeepSeek-V3 reached it, at its $2 per hour";
    scenarios.push_back({model.name, "as fast and as dear as DeepSeek-V3 on H800", plan,
                         "arXiv 2412.19437; tokens: arXiv 2606.19348"});
    plan.reached_flop_per_s = model.bridge_flop_per_s;
    plan.usd_per_gpu_hour = 0;  // nobody stated one
    plan.hardware_basis = "GB300, MXFP8, Megatron-Bridge";
    scenarios.push_back({model.name, "Megatron-Bridge on GB300, MXFP8", plan, model.bridge_source});
  }
  return scenarios;
}

}  // namespace fathom::plan

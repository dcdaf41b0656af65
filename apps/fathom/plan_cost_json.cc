#include "apps/fathom/plan_cost_json.h"

#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;
using plan::Percentiles;
using plan::TokenClass;

// JSON has no infinity: null stands for "never".
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

Json json_of(const Percentiles& percentiles) {
  return {{"p10", number(percentiles.p10)},
          {"p50", number(percentiles.p50)},
          {"p90", number(percentiles.p90)}};
}

Json by_class(const std::array<Percentiles, plan::kTokenClasses.size()>& values) {
  Json out;
  for (const TokenClass token_class : plan::kTokenClasses) {
    out[std::string(plan::to_string(token_class))] =
        json_of(values[static_cast<std::size_t>(token_class)]);
  }
  return out;
}

Json tornado_of(const plan::CostStudy& study) {
  Json out = Json::array();
  for (const plan::TornadoBar& bar : study.tornado) {
    out.push_back({{"quantity", bar.name},
                   {"p10", bar.value.p10},
                   {"p90", bar.value.p90},
                   {"saving_usd_per_month_at_p10", bar.saving_usd_at_p10},
                   {"saving_usd_per_month_at_p90", bar.saving_usd_at_p90}});
  }
  return out;
}

Json break_even_of(const plan::CostStudy& study) {
  Json out = Json::array();
  for (const plan::BreakEvenPoint& point : study.break_even) {
    out.push_back({{"utilisation", point.utilisation},
                   {"tokens_per_month", point.tokens_per_month},
                   {"own_usd_per_million_tokens", json_of(point.own_usd_per_million_tokens)},
                   {"api_usd_per_million_tokens", json_of(point.api_usd_per_million_tokens)}});
  }
  return out;
}

Json basis_of(const plan::CostStudy& study) {
  Json out = Json::array();
  for (const plan::Basis& basis : study.basis) {
    out.push_back(
        {{"quantity", basis.name}, {"value", json_of(basis.value)}, {"basis", basis.says}});
  }
  return out;
}

}  // namespace

nlohmann::ordered_json cost_json(const plan::CostModel& model, const plan::CostStudy& study) {
  const plan::CostIntervals& intervals = study.intervals;
  const plan::MonthlyCost& own = study.median.own;
  Json out;
  out["cost_usd_per_million_tokens"] = by_class(intervals.own_usd_per_million_tokens);
  out["api_usd_per_million_tokens"] = by_class(intervals.api_usd_per_million_tokens);
  out["cost_usd_per_month"] = {{"own", json_of(intervals.own_usd_per_month)},
                               {"api", json_of(intervals.api_usd_per_month)},
                               {"saving", json_of(intervals.saving_usd_per_month)}};
  out["cost_usd_per_month_by_part_at_medians"] = {{"capital", own.capital_usd},
                                                  {"energy", own.energy_usd},
                                                  {"operations", own.operations_usd},
                                                  {"other", own.other_usd}};
  out["utilisation"] = json_of(intervals.utilisation);
  out["crossover_utilisation"] = json_of(intervals.crossover_utilisation);
  out["crossover_tokens_per_month"] = json_of(intervals.crossover_tokens_per_month);
  out["share_of_draws_own_is_cheaper"] = intervals.share_own_is_cheaper;
  out["share_of_draws_without_crossover"] = intervals.share_without_crossover;
  out["share_of_draws_above_capacity"] = intervals.share_with_unserved_tokens;
  out["machines"] = {{"working", model.num_machines()},
                     {"spare", model.inputs().num_spare_machines}};
  out["concurrency"] = model.concurrency();
  out["cost_tornado"] = tornado_of(study);
  out["cost_break_even"] = break_even_of(study);
  out["cost_basis"] = basis_of(study);
  out["cost_notes"] = study.notes;
  out["api_prices"] = {{"provider", model.prices().provider},
                       {"model", model.prices().model},
                       {"serves", model.prices().serves},
                       {"age_days", model.prices().age_days},
                       {"is_stale", model.prices().is_stale()}};
  out["cost_draws"] = study.options.num_draws;
  out["cost_seed"] = study.options.seed;
  return out;
}

nlohmann::ordered_json published_training_json() {
  const plan::PublishedTraining& v3 = plan::deepseek_v3_training();
  Json parts = Json::array();
  for (const plan::PublishedPart& part : v3.parts) {
    parts.push_back({{"part", part.name},
                     {"gpu_hours", part.gpu_hours},
                     {"usd", part.gpu_hours * v3.usd_per_gpu_hour}});
  }
  return {{"model", v3.model},
          {"parts", parts},
          {"gpu_hours", v3.gpu_hours()},
          {"usd", v3.usd()},
          {"flop_per_s_per_gpu", v3.flop_per_s_per_accelerator()},
          {"utilisation", v3.utilisation()},
          {"source", v3.source}};
}

nlohmann::ordered_json training_json(const plan::TrainingPlan& run) {
  const plan::TrainingEstimate found = plan::estimate(run);
  Json out = {{"tokens", run.tokens},
              {"flop", found.flop},
              {"flop_per_s_per_gpu", found.reached_flop_per_s},
              {"gpu_hours", found.gpu_hours},
              {"usd", run.usd_per_gpu_hour > 0 ? Json(found.usd) : Json(nullptr)},
              {"basis", run.flop_basis + "; " + run.hardware_basis}};
  if (run.num_accelerators > 0) {
    out["days"] = found.days;
  }
  return out;
}

nlohmann::ordered_json training_scenarios_json(const std::string& model) {
  Json out = Json::array();
  for (const plan::TrainingScenario& scenario : plan::v4_scenarios()) {
    if (scenario.model == model) {
      Json row = training_json(scenario.plan);
      row["scenario"] = scenario.name;
      row["source"] = scenario.source;
      out.push_back(std::move(row));
    }
  }
  return out;
}

}  // namespace fathom::app

// What `fathom plan` and `fathom probe` print: JSON objects and sections of a report.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "fathom/base/chart/report.h"
#include "fathom/study/plan/plan.h"

#include "apps/fathom/machine_source.h"

namespace fathom::app {

// Every figure with its basis, source and date.
nlohmann::ordered_json machine_json(const plan::Machine& machine);
std::string machine_text(const plan::Machine& machine);

// A plan with what it was made of.
struct PlanAnswer {
  std::string model;    // as it was named
  std::string kind;     // checkpoint | config
  std::string storage;  // "experts fp4, dense fp8, by the config"
  plan::PlanRequest request;
  std::optional<MachineSource> machine;
  plan::Plan plan;
};
// The keys of docs/planning.md.
nlohmann::ordered_json plan_json(const PlanAnswer& answer);
chart::Report plan_report(const PlanAnswer& answer);

// The speeds as the cost model takes them; nothing where there are none.
std::optional<plan::MachineSpeed> machine_speed(const PlanAnswer& answer);

}  // namespace fathom::app

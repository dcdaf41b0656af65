// The money side of fathom plan as JSON. Units are in the keys; null stands for "never".
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "fathom/study/plan/cost_study.h"
#include "fathom/study/plan/training_cost.h"

namespace fathom::app {

// Keys of the plan's object, from cost_usd_per_million_tokens on.
nlohmann::ordered_json cost_json(const plan::CostModel& model, const plan::CostStudy& study);

nlohmann::ordered_json training_json(const plan::TrainingPlan& run);
nlohmann::ordered_json published_training_json();
// Of v4-flash or v4-pro; empty for another model.
nlohmann::ordered_json training_scenarios_json(const std::string& model);

}  // namespace fathom::app

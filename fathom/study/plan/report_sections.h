// Sections of a plan's report: memory, speed, cost and training, each with its tables and charts.
#pragma once

#include <string>
#include <vector>

#include "fathom/base/chart/report.h"
#include "fathom/model/config/model_config.h"
#include "fathom/study/plan/cost_study.h"
#include "fathom/study/plan/training_cost.h"

namespace fathom::plan {

using chart::Section;

// What takes memory, in the order it is to be shown.
struct MemoryPart {
  std::string name;
  double bytes = 0;
};
Section memory_section(const std::vector<MemoryPart>& parts);

// Decoding over the context at each concurrency, and over the concurrency at each context.
Section speed_section(const MachineSpeed& speed);

Section cost_section(const CostModel& model, const CostStudy& study);

// Published and reckoned runs. `config`, where there is one, adds both counts of operations for
// sequences of this length.
struct TrainingQuestion {
  const config::ModelConfig* config = nullptr;
  std::string model;                // as the scenarios name it: "v4-flash"; others have none
  Index sequence_tokens = 4096;     // mean length in training
  std::vector<TrainingPlan> plans;  // the caller's own
};
Section training_section(const TrainingQuestion& question);

// "12.3 (10.1 to 15.8)": the median and the interval, or one number where it is known exactly.
std::string interval_text(const Percentiles& percentiles);

}  // namespace fathom::plan

// The runs of `fathom probe`: small models with random weights, some at the shapes of DeepSeek-V4,
// written for the purpose, measured and removed again.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "fathom/compute/runtime/machine_profile.h"
#include "fathom/fathom.h"
#include "fathom/study/bench/matrix.h"
#include "fathom/study/plan/bench_record.h"

namespace fathom::app {

class InterruptWatch;

struct ProbeModel {
  std::string name;
  config::ModelConfig config;
  config::StoragePlan storage;
  bool is_official;  // a folder of the official layout, else GGUF
  bench::Matrix matrix;
};
std::vector<ProbeModel> probe_models();

// The measured cells of one model. `folder` gets its files for as long as it takes.
plan::BenchRecord measure_probe_model(const ProbeModel& model,
                                      const std::filesystem::path& folder,
                                      int num_threads,
                                      const runtime::ReadBuffer& buffer,
                                      InterruptWatch& interrupts);

}  // namespace fathom::app

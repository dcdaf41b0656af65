// What `fathom bench` prints: one object for tools, tables for people.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fathom/compute/runtime/machine_profile.h"
#include "fathom/study/bench/kernels.h"
#include "fathom/study/bench/matrix.h"
#include "fathom/study/bench/measure.h"

#include "apps/fathom/bench_model.h"

namespace fathom::app {

struct ModelBench {
  std::string path;
  ModelFacts facts;
  bool is_random = false;  // weights without meaning, by fathom synth
  Index file_bytes = 0;
  std::optional<double> read_mapped_bytes_per_s;
  double load_s = 0;
  MemoryPeak memory;
  const ModelCosts* costs = nullptr;
  bench::Bound prefill_bound = bench::Bound::None;
  std::vector<bench::CellResult> cells;
  std::vector<bench::Skipped> skipped;
  Beginnings beginnings = Beginnings::Shared;
  std::vector<bench::KernelResult> kernels;
};

struct BenchResult {
  runtime::MachineProfile machine;
  std::optional<ModelBench> model;
};

// One object on one line; a figure that is not known is null.
std::string bench_json(const BenchResult& result);
std::string bench_tables(const BenchResult& result);

// Which provider computes an op, and why it.
struct ChosenKernel {
  std::string op;
  std::string provider;
  std::string reason;
};
std::string chosen_kernels_json(const std::vector<ChosenKernel>& kernels);
std::string chosen_kernels_table(const std::vector<ChosenKernel>& kernels);

}  // namespace fathom::app

// What `fathom bench --json` prints, read back: a model's config and storage, and measured cells.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fathom/study/plan/machine.h"
#include "fathom/study/plan/model_work.h"

namespace fathom::plan {

struct MeasuredCell {
  bool is_prefill = false;
  Index tokens = 0;   // of the prompt, or steps
  Index context = 0;  // as `fathom bench` counts it: 0 begins behind 64 tokens
  Index batch = 1;
  double tokens_per_s = 0;
  Moment meanwhile = {};  // what the machine did around the run
};

// Tokens in the cache when a run of the cell begins.
Index tokens_before(const MeasuredCell& cell);

// What the run of a cell took, per step of decoding or for the whole prompt.
struct CellWork {
  Amounts amounts{};
  double working_set_bytes = 0;
  double tokens = 0;   // computed
  double seconds = 0;  // measured
};
CellWork work_of_cell(const ModelWork& work, const MeasuredCell& cell);

struct BenchRecord {
  std::string name;
  config::ModelConfig config;
  Storage storage;
  std::string numerics;
  std::string layout;
  Index num_threads = 0;
  Index file_bytes = 0;
  Index peak_resident_bytes = 0;  // 0: not known
  std::vector<MeasuredCell> cells;
};

// Throws InvalidArgument naming the file and the key.
BenchRecord parse_bench_record(std::string_view json, const std::string& file);

}  // namespace fathom::plan

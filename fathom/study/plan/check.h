// Predictions beside measurements: how far off the plan is, and how often its intervals hold.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fathom/study/plan/bench_record.h"
#include "fathom/study/plan/machine.h"
#include "fathom/study/plan/percentiles.h"

namespace fathom::plan {

struct CheckedCell {
  std::string model;
  MeasuredCell measured;
  Percentiles predicted;   // tokens per second
  double error() const;    // predicted / measured - 1
  bool is_inside() const;  // measured between p10 and p90
};

struct CheckedMemory {
  std::string model;
  Index measured_bytes = 0;
  Index predicted_bytes = 0;
  double error() const;
};

struct CheckResult {
  std::vector<CheckedCell> cells;
  std::vector<CheckedMemory> memories;
};

enum class Against {
  MachineMeanwhile,  // the profile with what the machine did while a run took place
  ProfileAlone,      // what is known beforehand
};
// Each record on a machine that lacks nothing of what speeds need (missing_for_speed). Throws
// InvalidArgument for records in other numerics than `fast` or with other numbers of threads than
// the machine's.
CheckResult check_records(const Machine& machine,
                          std::span<const BenchRecord> records,
                          Against against = Against::MachineMeanwhile);

// The largest resident memory of a run of `fathom bench` with the record's cells.
Index predict_peak_bytes(const BenchRecord& record);

struct Accuracy {
  Index num_points = 0;
  double median_error = 0;  // of its absolute value
  double coverage = 0;      // share of the points inside their intervals
};
Accuracy accuracy_of(std::span<const CheckedCell> cells);

}  // namespace fathom::plan

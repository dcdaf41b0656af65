// Measuring the cells of a plan: repetitions in turn, medians, fractions of the machine's limit.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fathom/study/bench/matrix.h"

namespace fathom::bench {

// The middle of the numbers, the mean of the two middle ones of an even count. At least one number.
double median(std::vector<double> numbers);

// What the machine does at some moment.
struct Moment {
  // At most: bytes read per second for decoding, operations per second for prefill. Nothing where
  // it cannot be said.
  std::optional<double> limit = {};
  // On average, with what whoever shares the machine takes of it.
  double read_bytes_per_s = 0;
  double cached_bytes_per_s = 0;
  std::optional<double> barrier_s = {};
};

struct Run {
  double seconds = 0;
  std::vector<Moment> pauses = {};  // measured in pauses of the run, which are not in its seconds
};

// What is measured: a model on this machine, or a stand-in with a clock of its own.
class Subject {
 public:
  virtual ~Subject() = default;
  // Brings what a cell begins with into being, untimed; called once, before the cell's first run.
  virtual void prepare(const Cell& cell) = 0;
  virtual Run run(const Cell& cell) = 0;
  virtual Moment moment(Phase phase) = 0;
  // What one token of a cell takes of the limit: bytes of weights, or operations. Nothing as above.
  virtual std::optional<double> cost_per_token(const Cell& cell) = 0;
};

// A run and the machine that it met: means over the moments around it and in its pauses.
struct Sample {
  double tokens_per_s = 0;
  Moment meanwhile;
};

struct CellResult {
  Cell cell;
  double tokens_per_s = 0;                  // median; of all sequences of a batch together
  std::optional<double> fraction_of_limit;  // median of the runs' own fractions
  Moment meanwhile;                         // what the run met that the median is of
  std::vector<Sample> samples;              // in order of the runs
};

// How much of the work is done: runs and preparations, weighed by how long they are likely to take.
using Progress = std::function<void(const Cell& cell, double done, double total)>;

// Runs every cell `num_repetitions` times in turn (A B C A B C ...), so that a machine that changes
// its speed does so for all of them. A run's limit is the mean of those just before it, in its
// pauses and just after it; the moment after a run is also the one before the next of its phase.
std::vector<CellResult> measure_cells(Subject& subject,
                                      std::span<const Cell> cells,
                                      Index num_repetitions,
                                      const Progress& progress = {});

}  // namespace fathom::bench

// A machine as the planner sees it: a list of figures, each with how, from where and when it is
// known. What has no source is not in the list.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/study/plan/model_work.h"

namespace fathom::plan {

enum class Evidence {
  Measured,   // by this program, or by who published it
  Vendor,     // from a data sheet
  Estimated,  // computed from other figures
};
std::string_view to_string(Evidence basis);

enum class FigureKind {
  Threads,
  RamBytes,
  ReadBytesPerS,        // of memory, by `at` threads
  WorkingSetBytesPerS,  // of `at` bytes that are read again and again: caches show
  Int8OpsPerS,          // by all threads; a multiplication and an addition are two
  Bf16OpsPerS,
  Fp32OpsPerS,
  BarrierS,                // of an empty loop on all threads
  DiskReadBytesPerS,       // by `at` reads at a time
  Accelerators,            // how many
  AcceleratorMemoryBytes,  // of each
  AcceleratorBytesPerS,    // memory bandwidth of each
  IdleWatts,
  LoadWatts,
  // Of one kind of work, `of`: 1 / efficiency times what the machine's limit allows is what it
  // takes (docs/planning.md names the limits).
  Efficiency,
  // Standard deviation of the logarithm of measured over predicted time, on models that the
  // efficiencies were not fitted to, beyond what the efficiencies' spreads explain.
  SpeedError,
};
std::string_view to_string(FigureKind kind);

struct Figure {
  FigureKind kind = FigureKind::Threads;
  double value = 0;
  double at = 0;                // of the kinds that depend on something, else 0
  std::optional<Work> of = {};  // of an Efficiency
  double spread = 0;            // standard deviation of its logarithm, from run to run
  Evidence basis = Evidence::Measured;
  std::string source = {};
  std::string date = {};  // YYYY-MM-DD: of the measurement, or when the source was read
};

struct Machine {
  std::string name;
  std::string title;
  std::vector<Figure> figures;

  // The only figure of a kind, or the one with the largest `at`; null without one.
  const Figure* find(FigureKind kind) const;
  std::optional<double> value(FigureKind kind) const;
  const Figure* efficiency(Work work) const;
  bool has_efficiencies() const;
  // Bytes read per second of a working set of so many bytes, by all threads: between the sizes that
  // were measured by their logarithms, else what memory gives. Nothing where neither is known.
  std::optional<double> read_bytes_per_s(double working_set_bytes) const;
};

// What a machine did at some moment, on average; 0 is not known. A shared one changes: neighbours
// take their part of memory, the hypervisor of the processors' time, and it moves the virtual
// processors nearer to each other or apart.
struct Moment {
  double read_bytes_per_s = 0;    // of memory
  double cached_bytes_per_s = 0;  // of the smallest working set: what the processors' time gives
  double barrier_s = 0;
};

// The machine as it was at a moment, without the spread from moment to moment. Arithmetic follows
// what is read from caches; without that figure, and without a barrier, all follows memory.
// Efficiencies, and what they leave unexplained, stay.
Machine at_moment(Machine machine, const Moment& moment);

// Machines of a TOML file, data/machines.toml or a saved profile; docs/planning.md has the form.
// Every error is InvalidArgument naming file, line and field.
std::vector<Machine> parse_machines(std::string_view text, const std::string& file);
// The text of a file with one machine, which parse_machines reads back.
std::string machine_toml(const Machine& machine);

// The library of machines that is compiled in (data/machines.toml).
const std::vector<Machine>& known_machines();
// Throws InvalidArgument naming --machine and the known ones.
const Machine& find_machine(const std::string& name);

// The machine of the library whose figures stand in where another machine's are not known.
inline constexpr std::string_view kReferenceMachine = "xeon-emerald-rapids-2vcpu";

// Adds what speeds need and the machine lacks, from the reference machine: efficiencies, and peaks
// by thread where it is known how many there are. All of it is labelled estimated, with a spread
// that says how little is known.
void assume_missing(Machine& machine);

}  // namespace fathom::plan

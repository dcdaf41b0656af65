// A machine with round figures, for tests of what follows from them.
#pragma once

#include "fathom/study/plan/machine.h"

namespace fathom::plan {

// 100 GB/s, 1 T int8 and 0.1 T fp32 operations per second, a barrier of 1 us, 1 TB of memory, no
// spread; of everything the efficiency.
inline Machine simple_machine(double efficiency = 0.5) {
  Machine machine{.name = "simple", .title = "round figures", .figures = {}};
  const auto add = [&](FigureKind kind, double value, double at = 0) {
    machine.figures.push_back(
        {.kind = kind, .value = value, .at = at, .source = "test", .date = "2026-01-01"});
  };
  add(FigureKind::Threads, 8);
  add(FigureKind::RamBytes, 1e12);
  add(FigureKind::ReadBytesPerS, 100e9, 8);
  add(FigureKind::Int8OpsPerS, 1e12);
  add(FigureKind::Fp32OpsPerS, 1e11);
  add(FigureKind::BarrierS, 1e-6);
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    add(FigureKind::Efficiency, efficiency);
    machine.figures.back().of = static_cast<Work>(idx);
  }
  return machine;
}

inline void set_figure(Machine& machine, FigureKind kind, double value, double spread = 0) {
  for (Figure& figure : machine.figures) {
    if (figure.kind == kind) {
      figure.value = value;
      figure.spread = spread;
      return;
    }
  }
  machine.figures.push_back(
      {.kind = kind, .value = value, .spread = spread, .source = "test", .date = "2026-01-01"});
}

}  // namespace fathom::plan

#include "fathom/study/plan/speed_model.h"

#include <cmath>
#include <utility>

#include "fathom/base/core/error.h"
#include "fathom/study/plan/distribution.h"

namespace fathom::plan {
namespace {

constexpr std::uint64_t kSeed = 8;
// Of a machine with one thread, which has no barrier: what starting a loop is then compared with.
constexpr double kNoBarrierS = 1e-6;
// Work that one thread does, unlike any of the limits, is counted in microseconds.
constexpr double kSerialS = 1e-6;
// Activations that one thread writes are read by others: a line takes a part of what a barrier
// does, for which two go to and fro.
constexpr double kNumbersPerLine = 16;

// Products of integers are compared with fp32 too: where a unit of tiles makes their own peak
// twenty times as high, kernels do not come near it, so that it says little about a machine.
enum class Limit { Read, Compute, Exchange, Serial, Start };
constexpr std::array<Limit, kNumWorks> kLimits = {
    Limit::Read,    Limit::Read,     Limit::Read,    Limit::Compute, Limit::Compute, Limit::Compute,
    Limit::Compute, Limit::Compute,  Limit::Compute, Limit::Compute, Limit::Compute, Limit::Compute,
    Limit::Read,    Limit::Exchange, Limit::Serial,  Limit::Serial,  Limit::Start,   Limit::Start};

double spread_of(const Machine& machine, FigureKind kind) {
  const Figure* figure = machine.find(kind);
  return figure == nullptr ? 0 : figure->spread;
}

}  // namespace

std::string missing_for_speed(const Machine& machine) {
  std::string missing;
  const auto need = [&](bool is_there, std::string_view what) {
    if (!is_there) {
      missing += (missing.empty() ? "" : ", ") + std::string(what);
    }
  };
  for (const FigureKind kind : {FigureKind::ReadBytesPerS, FigureKind::Fp32OpsPerS}) {
    need(machine.find(kind) != nullptr, to_string(kind));
  }
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    const auto work = static_cast<Work>(idx);
    need(machine.efficiency(work) != nullptr, "efficiency of " + std::string(to_string(work)));
  }
  return missing;
}

Amounts seconds_at_limits(const Machine& machine,
                          const Amounts& amounts,
                          double working_set_bytes) {
  const double read = machine.read_bytes_per_s(working_set_bytes).value_or(0);
  const double fp32 = machine.value(FigureKind::Fp32OpsPerS).value_or(0);
  FATHOM_CHECK(read > 0 && fp32 > 0);
  const double start_s = machine.value(FigureKind::BarrierS).value_or(kNoBarrierS);
  Amounts seconds{};
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    switch (kLimits[idx]) {
      case Limit::Read:
        seconds[idx] = amounts[idx] / read;
        break;
      case Limit::Compute:
        seconds[idx] = amounts[idx] / fp32;
        break;
      case Limit::Exchange:
        seconds[idx] = amounts[idx] / kNumbersPerLine * start_s;
        break;
      case Limit::Serial:
        seconds[idx] = amounts[idx] * kSerialS;
        break;
      case Limit::Start:
        seconds[idx] = amounts[idx] * start_s;
        break;
    }
  }
  return seconds;
}

SpeedModel::SpeedModel(Machine machine) : machine_(std::move(machine)) {
  FATHOM_CHECK(missing_for_speed(machine_).empty());
  Amounts spreads{};
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    const Figure* figure = machine_.efficiency(static_cast<Work>(idx));
    inverse_efficiencies_[idx] = 1 / figure->value;
    spreads[idx] = figure->spread;
  }
  const double read_spread = spread_of(machine_, FigureKind::ReadBytesPerS);
  const double compute_spread = spread_of(machine_, FigureKind::Fp32OpsPerS);
  const double start_spread = spread_of(machine_, FigureKind::BarrierS);
  for (std::uint64_t draw_idx = 0; draw_idx < kNumDraws; ++draw_idx) {
    std::uint64_t variable = 0;
    const auto factor = [&](double spread) {
      return std::exp(spread * normal_quantile(uniform(kSeed, draw_idx, variable++)));
    };
    Draw draw{.read = factor(read_spread),
              .compute = factor(compute_spread),
              .start = factor(start_spread),
              .kinds = {},
              .whole = factor(machine_.value(FigureKind::SpeedError).value_or(0))};
    for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
      draw.kinds[idx] = factor(spreads[idx]);
    }
    draws_.push_back(draw);
  }
}

double SpeedModel::Draw::of(std::size_t work) const {
  switch (kLimits[work]) {
    case Limit::Read:
      return read;
    case Limit::Compute:
      return compute;
    case Limit::Exchange:
    case Limit::Start:
      return start;
    case Limit::Serial:
      break;
  }
  return 1;
}

Percentiles SpeedModel::seconds(const Amounts& amounts,
                                double working_set_bytes,
                                double extra_s) const {
  const Amounts at_limits = seconds_at_limits(machine_, amounts, working_set_bytes);
  std::vector<double> drawn;
  drawn.reserve(draws_.size());
  for (const Draw& draw : draws_) {
    double sum = 0;
    for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
      sum += at_limits[idx] * inverse_efficiencies_[idx] * draw.kinds[idx] * draw.of(idx);
    }
    drawn.push_back((sum + extra_s) * draw.whole);
  }
  return percentiles_of(std::move(drawn));
}

Percentiles rate_of(double num_tokens, const Percentiles& seconds) {
  return {num_tokens / seconds.p90, num_tokens / seconds.p50, num_tokens / seconds.p10};
}

}  // namespace fathom::plan

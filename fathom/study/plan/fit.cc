#include "fathom/study/plan/fit.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "fathom/base/core/error.h"
#include "fathom/study/plan/distribution.h"

namespace fathom::plan {
namespace {

constexpr int kMaxSweeps = 20000;
constexpr double kConverged = 1e-9;
// The weight of the prior, in runs: enough to decide where nothing else does.
constexpr double kPriorWeight = 0.02;
// No efficiency is more than so many times the prior or less than a part of it: a kind of work that
// the runs hardly have must not become free.
constexpr double kLargestFactor = 50;
constexpr int kReweightings = 8;
// Errors beyond this are weighed down: a neighbour's work must not bend the fit.
constexpr double kOutlier = 0.25;
// Between p10 and p90 of a plan.
constexpr double kInside = 0.8;
// No run repeats itself more exactly.
constexpr double kLeastError = 0.01;

struct Row {
  Amounts shares;  // seconds at limits over seconds: their products with 1/efficiency sum to one
  double weight = 1;
};

double predicted(const Amounts& shares, const Amounts& inverses) {
  double sum = 0;
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    sum += shares[idx] * inverses[idx];
  }
  return sum;
}

// Coordinate descent: every step solves for one inverse with the others fixed and clamps it.
Amounts solve(const std::vector<Row>& rows, const Amounts& prior) {
  Amounts inverses{};
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    inverses[idx] = 1 / prior[idx];
  }
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    double largest_change = 0;
    for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
      // In units of the prior, so that its pull is the same for every kind.
      double slope = kPriorWeight;
      double target = kPriorWeight;
      for (const Row& row : rows) {
        const double share = row.shares[idx] / prior[idx];
        const double rest = 1 - predicted(row.shares, inverses) + row.shares[idx] * inverses[idx];
        slope += row.weight * share * share;
        target += row.weight * share * rest;
      }
      const double factor = std::clamp(target / slope, 1 / kLargestFactor, kLargestFactor);
      largest_change = std::max(largest_change, std::abs(factor - inverses[idx] * prior[idx]));
      inverses[idx] = factor / prior[idx];
    }
    if (largest_change < kConverged) {
      break;
    }
  }
  return inverses;
}

Amounts fit_inverses(std::span<const Observation> observations,
                     const std::string& left_out,
                     const Amounts& prior) {
  std::vector<Row> rows;
  for (const Observation& observation : observations) {
    if (observation.model == left_out) {
      continue;
    }
    Row row;
    for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
      row.shares[idx] = observation.seconds_at_limits[idx] / observation.seconds;
    }
    rows.push_back(row);
  }
  Amounts inverses = solve(rows, prior);
  for (int round = 0; round < kReweightings; ++round) {
    for (Row& row : rows) {
      const double error = std::abs(predicted(row.shares, inverses) - 1);
      row.weight = error > kOutlier ? kOutlier / error : 1;
    }
    inverses = solve(rows, prior);
  }
  return inverses;
}

double log_error(const Observation& observation, const Amounts& inverses) {
  return std::log(observation.seconds / predicted(observation.seconds_at_limits, inverses));
}

struct LeftOut {
  const Observation* observation;
  const Amounts* inverses;  // of the other models' fit
};

// The variance of the logarithm of a prediction whose terms vary by their spreads.
double explained_variance(const LeftOut& left_out, const Amounts& spreads) {
  const Amounts& seconds = left_out.observation->seconds_at_limits;
  double variance = 0;
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    const double deviation = seconds[idx] * (*left_out.inverses)[idx] * spreads[idx];
    variance += deviation * deviation;
  }
  const double whole = predicted(seconds, *left_out.inverses);
  return variance / (whole * whole);
}

// The deviation that, next to the spreads, puts so many of the runs inside their intervals as an
// interval promises: how large the errors of the rest are does not matter.
double unexplained_error(const std::vector<LeftOut>& runs, const Amounts& spreads) {
  const double half_width = normal_quantile((1 + kInside) / 2);
  std::vector<double> variances;
  for (const LeftOut& run : runs) {
    const double needed = log_error(*run.observation, *run.inverses) / half_width;
    variances.push_back(needed * needed - explained_variance(run, spreads));
  }
  return std::sqrt(std::max(quantile(variances, kInside), kLeastError * kLeastError));
}

}  // namespace

Amounts prior_efficiencies() {
  Amounts prior{};
  at(prior, Work::PackedBytes) = 0.7;
  at(prior, Work::PlainBytes) = 0.6;
  at(prior, Work::CodedBytes) = 0.3;
  at(prior, Work::PackedFewOps) = 2;
  at(prior, Work::PackedManyOps) = 2;
  at(prior, Work::WideFewOps) = 0.4;
  at(prior, Work::WideManyOps) = 0.4;
  at(prior, Work::TokenSharedOps) = 0.3;
  at(prior, Work::PromptSharedOps) = 0.3;
  at(prior, Work::TokenGroupedOps) = 0.1;
  at(prior, Work::PromptGroupedOps) = 0.3;
  at(prior, Work::IndexOps) = 1.4;  // products of 16-bit codes, as fathom bench measures them
  at(prior, Work::CacheBytes) = 0.5;
  at(prior, Work::ExchangedNumbers) = 50;
  at(prior, Work::RoutedTokens) = 0.5;
  at(prior, Work::SequenceLayers) = 0.3;
  at(prior, Work::SharedStarts) = 1;
  at(prior, Work::Starts) = 2;
  return prior;
}

FittedEfficiencies fit_efficiencies(std::span<const Observation> observations,
                                    const Amounts& prior) {
  std::set<std::string> models;
  for (const Observation& observation : observations) {
    FATHOM_CHECK(observation.seconds > 0);
    models.insert(observation.model);
  }
  if (models.size() < 2) {
    fail(ErrorCode::InvalidArgument, "fit: found runs of ", models.size(),
         " model, expected at least 2: how far off a model is that was not fitted shows only so");
  }
  const Amounts inverses = fit_inverses(observations, "", prior);
  std::map<std::string, Amounts> others;  // what is fitted without a model
  Amounts variations{};
  for (const std::string& model : models) {
    const Amounts& without = others[model] = fit_inverses(observations, model, prior);
    for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
      const double change = std::log(without[idx] / inverses[idx]);
      variations[idx] += change * change;
    }
  }
  std::vector<LeftOut> left_out;
  for (const Observation& observation : observations) {
    left_out.push_back({&observation, &others.at(observation.model)});
  }
  FittedEfficiencies fitted;
  for (std::size_t idx = 0; idx < kNumWorks; ++idx) {
    fitted.efficiencies[idx] = 1 / inverses[idx];
    fitted.spreads[idx] = std::sqrt(variations[idx] / static_cast<double>(models.size()));
  }
  fitted.error = unexplained_error(left_out, fitted.spreads);
  return fitted;
}

}  // namespace fathom::plan

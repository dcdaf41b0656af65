#include "fathom/study/bench/measure.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "fathom/base/core/error.h"

namespace fathom::bench {
namespace {

// Decoding a step takes about as long as so many tokens of a prompt, and a bit more for every
// further sequence: good enough for saying how much is left.
constexpr double kStepWeight = 8;
constexpr double kSequenceWeight = 2;

double weight_of(const Cell& cell) {
  const auto tokens = static_cast<double>(cell.tokens);
  return cell.phase == Phase::Prefill
             ? tokens
             : tokens * (kStepWeight + kSequenceWeight * static_cast<double>(cell.batch));
}

// A context is filled once, for the first cell that has it.
bool is_first_with_context(std::span<const Cell> cells, std::size_t idx) {
  return std::none_of(
      cells.begin(), cells.begin() + static_cast<std::ptrdiff_t>(idx),
      [&](const Cell& earlier) { return tokens_before(earlier) == tokens_before(cells[idx]); });
}

double preparation_weight(std::span<const Cell> cells, std::size_t idx) {
  return is_first_with_context(cells, idx) ? static_cast<double>(tokens_before(cells[idx])) : 0;
}

// Runs one cell once.
void sample(Subject& subject, CellResult& result, std::vector<double>& fractions) {
  const Cell& cell = result.cell;
  const std::optional<double> cost = subject.cost_per_token(cell);
  const std::optional<double> before = cost ? subject.limit(cell.phase) : std::nullopt;
  const Run run = subject.run(cell);
  const std::optional<double> after = before ? subject.limit(cell.phase) : std::nullopt;
  FATHOM_CHECK(run.seconds > 0);
  result.samples.push_back(static_cast<double>(cell.num_computed_tokens()) / run.seconds);
  if (!after) {
    return;
  }
  const double sum = std::accumulate(run.limits.begin(), run.limits.end(), *before + *after);
  const double limit = sum / static_cast<double>(run.limits.size() + 2);
  if (limit > 0) {
    fractions.push_back(*cost * result.samples.back() / limit);
  }
}

}  // namespace

double median(std::vector<double> numbers) {
  FATHOM_CHECK(!numbers.empty());
  std::sort(numbers.begin(), numbers.end());
  const std::size_t middle = numbers.size() / 2;
  return numbers.size() % 2 == 1 ? numbers[middle] : (numbers[middle - 1] + numbers[middle]) / 2;
}

std::vector<CellResult> measure_cells(Subject& subject,
                                      std::span<const Cell> cells,
                                      Index num_repetitions,
                                      const Progress& progress) {
  if (num_repetitions < 1) {
    fail(ErrorCode::InvalidArgument, "repetitions: found ", num_repetitions,
         ", expected at least 1");
  }
  std::vector<CellResult> results;
  std::vector<std::vector<double>> fractions(cells.size());
  double total = 0;
  for (std::size_t idx = 0; idx < cells.size(); ++idx) {
    results.push_back({.cell = cells[idx], .fraction_of_limit = {}, .samples = {}});
    total += preparation_weight(cells, idx) +
             weight_of(cells[idx]) * static_cast<double>(num_repetitions);
  }
  double done = 0;
  const auto tell = [&](const Cell& cell, double weight) {
    done += weight;
    if (progress) {
      progress(cell, done, total);
    }
  };
  for (Index repetition = 0; repetition < num_repetitions; ++repetition) {
    for (std::size_t idx = 0; idx < cells.size(); ++idx) {
      if (repetition == 0) {
        subject.prepare(cells[idx]);
        tell(cells[idx], preparation_weight(cells, idx));
      }
      sample(subject, results[idx], fractions[idx]);
      tell(cells[idx], weight_of(cells[idx]));
    }
  }
  for (std::size_t idx = 0; idx < results.size(); ++idx) {
    results[idx].tokens_per_s = median(results[idx].samples);
    if (!fractions[idx].empty()) {
      results[idx].fraction_of_limit = median(std::move(fractions[idx]));
    }
  }
  return results;
}

}  // namespace fathom::bench

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

double mean(const std::vector<double>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0) / static_cast<double>(numbers.size());
}

// Of each figure that all moments have.
Moment mean_of(const std::vector<Moment>& moments) {
  const auto of_all = [&](auto figure) -> std::optional<double> {
    std::vector<double> values;
    for (const Moment& moment : moments) {
      const std::optional<double> value = moment.*figure;
      if (!value) {
        return std::nullopt;
      }
      values.push_back(*value);
    }
    return mean(values);
  };
  return {.limit = of_all(&Moment::limit),
          .read_bytes_per_s = *of_all(&Moment::read_bytes_per_s),
          .cached_bytes_per_s = *of_all(&Moment::cached_bytes_per_s),
          .barrier_s = of_all(&Moment::barrier_s)};
}

// Runs cells one after another, each between two moments.
class Sampler {
 public:
  Sampler(Subject& subject, std::span<const Cell> cells) : subject_(subject), cells_(cells) {
    samples_.resize(cells.size());
  }

  void prepare(std::size_t idx) {
    subject_.prepare(cells_[idx]);
    latest_.reset();  // filling a context takes a while
  }

  void run(std::size_t idx) {
    const Cell& cell = cells_[idx];
    const Moment before =
        latest_ && latest_->phase == cell.phase ? latest_->moment : subject_.moment(cell.phase);
    Run run = subject_.run(cell);
    latest_ = {cell.phase, subject_.moment(cell.phase)};
    FATHOM_CHECK(run.seconds > 0);
    run.pauses.insert(run.pauses.end(), {before, latest_->moment});
    const Moment met = mean_of(run.pauses);
    Samples& samples = samples_[idx];
    const double rate = static_cast<double>(cell.num_computed_tokens()) / run.seconds;
    samples.runs.push_back({rate, met});
    const std::optional<double> cost = subject_.cost_per_token(cell);
    if (cost && met.limit && *met.limit > 0) {
      samples.fractions.push_back(*cost * rate / *met.limit);
    }
  }

  CellResult result(std::size_t idx) const {
    const Samples& samples = samples_[idx];
    // A machine that changes between two speeds has no moment in their middle: the moment is of the
    // same run, or two, as the speed.
    std::vector<Sample> middle = samples.runs;
    std::sort(middle.begin(), middle.end(),
              [](const Sample& a, const Sample& b) { return a.tokens_per_s < b.tokens_per_s; });
    const std::size_t num_beside = (middle.size() - 1) / 2;
    std::vector<double> rates;
    std::vector<Moment> moments;
    for (std::size_t i = num_beside; i < middle.size() - num_beside; ++i) {
      rates.push_back(middle[i].tokens_per_s);
      moments.push_back(middle[i].meanwhile);
    }
    CellResult result{.cell = cells_[idx],
                      .tokens_per_s = mean(rates),
                      .fraction_of_limit = {},
                      .meanwhile = mean_of(moments),
                      .samples = samples.runs};
    if (!samples.fractions.empty()) {
      result.fraction_of_limit = median(samples.fractions);
    }
    return result;
  }

 private:
  struct Samples {
    std::vector<Sample> runs;
    std::vector<double> fractions;
  };
  struct Latest {
    Phase phase;
    Moment moment;
  };

  Subject& subject_;
  std::span<const Cell> cells_;
  std::vector<Samples> samples_;
  std::optional<Latest> latest_;  // behind the latest run
};

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
  Sampler sampler(subject, cells);
  double total = 0;
  for (std::size_t idx = 0; idx < cells.size(); ++idx) {
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
        sampler.prepare(idx);
        tell(cells[idx], preparation_weight(cells, idx));
      }
      sampler.run(idx);
      tell(cells[idx], weight_of(cells[idx]));
    }
  }
  std::vector<CellResult> results;
  for (std::size_t idx = 0; idx < cells.size(); ++idx) {
    results.push_back(sampler.result(idx));
  }
  return results;
}

}  // namespace fathom::bench

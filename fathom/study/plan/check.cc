#include "fathom/study/plan/check.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "fathom/base/core/error.h"
#include "fathom/model/config/cache_layout.h"
#include "fathom/study/plan/distribution.h"
#include "fathom/study/plan/memory.h"
#include "fathom/study/plan/speed_model.h"

namespace fathom::plan {
namespace {

// Rows that every sequence of a batch adds to what they share, with its copies of the pages that
// they end in.
Index rows_of_batch(const config::ModelConfig& config, const MeasuredCell& cell) {
  constexpr Index kPageRows = 16;  // tensor::RowTable::kRowsPerPage, a room that plans do not need
  const Index before = tokens_before(cell);
  const Index grown = config::cache_bytes(config, before + cell.tokens, config::kFastCache) -
                      config::cache_bytes(config, before, config::kFastCache);
  Index copied = 0;
  for (const config::CacheStream& stream : config::cache_layout(config)) {
    copied += kPageRows * config::kFastCache.row_bytes(stream);
  }
  return cell.batch * (std::max<Index>(grown, 0) + copied);
}

}  // namespace

double CheckedCell::error() const {
  return predicted.p50 / measured.tokens_per_s - 1;
}

bool CheckedCell::is_inside() const {
  return measured.tokens_per_s >= predicted.p10 && measured.tokens_per_s <= predicted.p90;
}

double CheckedMemory::error() const {
  return static_cast<double>(predicted_bytes) / static_cast<double>(measured_bytes) - 1;
}

Index predict_peak_bytes(const BenchRecord& record) {
  const config::ModelConfig& config = record.config;
  std::set<Index> contexts;
  Index of_runs = 0;
  Index longest = kStepTokens;  // a run warms up with a step
  for (const MeasuredCell& cell : record.cells) {
    if (cell.is_prefill) {
      of_runs = std::max(of_runs, config::cache_bytes(config, cell.tokens, config::kFastCache));
      longest = std::max(longest, cell.tokens);
    } else {
      contexts.insert(tokens_before(cell));
      of_runs = std::max(of_runs, rows_of_batch(config, cell));
      longest = std::max(longest, tokens_before(cell));
    }
  }
  Index kept = 0;  // each context is filled once and stays
  for (const Index context : contexts) {
    kept += config::cache_bytes(config, context, config::kFastCache);
  }
  const MemoryParts base =
      memory_parts(config, record.storage, {.num_sequences = 0, .context = longest});
  return base.total() + kept + of_runs;
}

CheckResult check_records(const Machine& machine,
                          std::span<const BenchRecord> records,
                          Against against) {
  const SpeedModel by_profile(machine);
  const auto threads = static_cast<Index>(machine.value(FigureKind::Threads).value_or(0));
  CheckResult result;
  for (const BenchRecord& record : records) {
    if (record.numerics != "fast") {
      fail(ErrorCode::InvalidArgument, record.name, ": numerics: found ", record.numerics,
           ", expected fast: the profile is of nothing else");
    }
    if (threads > 0 && record.num_threads != threads) {
      fail(ErrorCode::InvalidArgument, record.name, ": threads: found ", record.num_threads,
           ", the profile has ", threads);
    }
    const ModelWork work(record.config, record.storage);
    for (const MeasuredCell& cell : record.cells) {
      const CellWork took = work_of_cell(work, cell);
      const auto seconds_by = [&](const SpeedModel& speed) {
        return speed.seconds(took.amounts, took.working_set_bytes);
      };
      const Percentiles seconds = against == Against::ProfileAlone
                                      ? seconds_by(by_profile)
                                      : seconds_by(SpeedModel(at_moment(machine, cell.meanwhile)));
      result.cells.push_back(
          {.model = record.name, .measured = cell, .predicted = rate_of(took.tokens, seconds)});
    }
    if (record.peak_resident_bytes > 0) {
      result.memories.push_back({.model = record.name,
                                 .measured_bytes = record.peak_resident_bytes,
                                 .predicted_bytes = predict_peak_bytes(record)});
    }
  }
  return result;
}

Accuracy accuracy_of(std::span<const CheckedCell> cells) {
  Accuracy accuracy;
  std::vector<double> errors;
  Index num_inside = 0;
  for (const CheckedCell& cell : cells) {
    errors.push_back(std::abs(cell.error()));
    num_inside += cell.is_inside() ? 1 : 0;
  }
  accuracy.num_points = to_index(errors.size());
  if (!errors.empty()) {
    accuracy.median_error = quantile(errors, 0.5);
    accuracy.coverage = static_cast<double>(num_inside) / static_cast<double>(accuracy.num_points);
  }
  return accuracy;
}

}  // namespace fathom::plan

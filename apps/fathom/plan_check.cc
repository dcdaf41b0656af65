#include "apps/fathom/plan_check.h"

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fathom/base/chart/report.h"
#include "fathom/base/core/error.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/study/plan/check.h"
#include "fathom/study/plan/distribution.h"
#include "fathom/study/plan/speed_model.h"

#include "apps/fathom/machine_source.h"
#include "apps/fathom/options.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;
using chart::Table;
using plan::CheckedCell;

constexpr double kPercent = 100;
constexpr double kMega = 1e6;

plan::BenchRecord read_record(const std::string& path) {
  plan::BenchRecord record = plan::parse_bench_record(platform::read_file(path), path);
  record.name = std::filesystem::path(path).stem().string();
  return record;
}

std::vector<CheckedCell> of_phase(const plan::CheckResult& result, bool is_prefill) {
  std::vector<CheckedCell> cells;
  for (const CheckedCell& cell : result.cells) {
    if (cell.measured.is_prefill == is_prefill) {
      cells.push_back(cell);
    }
  }
  return cells;
}

double median_memory_error(const plan::CheckResult& result) {
  std::vector<double> errors;
  for (const plan::CheckedMemory& memory : result.memories) {
    errors.push_back(std::abs(memory.error()));
  }
  return errors.empty() ? 0 : plan::quantile(errors, 0.5);
}

Json json_of(const plan::Accuracy& accuracy) {
  return {{"points", accuracy.num_points},
          {"median_error", accuracy.median_error},
          {"coverage", accuracy.coverage}};
}

// The same runs by what is known with each of them, and by what is known beforehand.
struct Checks {
  plan::CheckResult meanwhile;
  plan::CheckResult beforehand;
};

Json check_json(const Checks& checks, const MachineSource& source) {
  const plan::CheckResult& result = checks.meanwhile;
  Json out;
  out["machine"] = source.machine.name;
  out["machine_from"] = source.origin;
  out["decode"] = json_of(plan::accuracy_of(of_phase(result, false)));
  out["prefill"] = json_of(plan::accuracy_of(of_phase(result, true)));
  out["all"] = json_of(plan::accuracy_of(result.cells));
  out["all_by_profile_alone"] = json_of(plan::accuracy_of(checks.beforehand.cells));
  out["peak_memory"] = {{"points", result.memories.size()},
                        {"median_error", median_memory_error(result)}};
  out["cells"] = Json::array();
  for (const CheckedCell& cell : result.cells) {
    out["cells"].push_back({{"model", cell.model},
                            {"phase", cell.measured.is_prefill ? "prefill" : "decode"},
                            {"tokens", cell.measured.tokens},
                            {"context", cell.measured.context},
                            {"batch", cell.measured.batch},
                            {"measured_tokens_per_s", cell.measured.tokens_per_s},
                            {"p10", cell.predicted.p10},
                            {"p50", cell.predicted.p50},
                            {"p90", cell.predicted.p90},
                            {"error", cell.error()}});
  }
  out["memory"] = Json::array();
  for (const plan::CheckedMemory& memory : result.memories) {
    out["memory"].push_back({{"model", memory.model},
                             {"measured_bytes", memory.measured_bytes},
                             {"predicted_bytes", memory.predicted_bytes},
                             {"error", memory.error()}});
  }
  return out;
}

std::string percent(double share) {
  return fmt::format("{:.1f}", kPercent * share);
}

Table summary_table(const Checks& checks) {
  const plan::CheckResult& result = checks.meanwhile;
  Table table{.caption = "",
              .columns = {{"figure"},
                          {"points", true},
                          {"median error, %", true},
                          {"within p10 to p90, %", true}},
              .rows = {}};
  const auto add = [&](const char* name, const std::vector<CheckedCell>& cells) {
    const plan::Accuracy accuracy = plan::accuracy_of(cells);
    table.rows.push_back({name, std::to_string(accuracy.num_points), percent(accuracy.median_error),
                          percent(accuracy.coverage)});
  };
  add("decode", of_phase(result, false));
  add("prefill", of_phase(result, true));
  add("both", result.cells);
  add("both, by the profile alone", checks.beforehand.cells);
  table.rows.push_back({"peak memory", std::to_string(result.memories.size()),
                        percent(median_memory_error(result)), ""});
  return table;
}

// A model's cells of each phase together: the table of all of them is long.
Table models_table(const plan::CheckResult& result) {
  Table table{.caption = "By model",
              .columns = {{"model"},
                          {"figure"},
                          {"points", true},
                          {"median error, %", true},
                          {"within p10 to p90, %", true}},
              .rows = {}};
  std::vector<std::string> models;
  for (const CheckedCell& cell : result.cells) {
    if (models.empty() || models.back() != cell.model) {
      models.push_back(cell.model);
    }
  }
  for (const std::string& model : models) {
    for (const bool is_prefill : {false, true}) {
      std::vector<CheckedCell> cells = of_phase(result, is_prefill);
      std::erase_if(cells, [&](const CheckedCell& cell) { return cell.model != model; });
      const plan::Accuracy accuracy = plan::accuracy_of(cells);
      table.rows.push_back({model, is_prefill ? "prefill" : "decode",
                            std::to_string(accuracy.num_points), percent(accuracy.median_error),
                            percent(accuracy.coverage)});
    }
  }
  return table;
}

Table memory_table(const plan::CheckResult& result) {
  Table table{
      .caption = "Peak memory",
      .columns = {{"model"}, {"measured, MB", true}, {"predicted, MB", true}, {"error, %", true}},
      .rows = {}};
  for (const plan::CheckedMemory& memory : result.memories) {
    table.rows.push_back(
        {memory.model, fmt::format("{:.1f}", static_cast<double>(memory.measured_bytes) / kMega),
         fmt::format("{:.1f}", static_cast<double>(memory.predicted_bytes) / kMega),
         fmt::format("{:+.1f}", kPercent * memory.error())});
  }
  return table;
}

Table cells_table(const plan::CheckResult& result) {
  Table table{.caption = "Every run, tokens per second",
              .columns = {{"model"},
                          {"run"},
                          {"measured", true},
                          {"p10", true},
                          {"p50", true},
                          {"p90", true},
                          {"error, %", true}},
              .rows = {}};
  for (const CheckedCell& cell : result.cells) {
    const plan::MeasuredCell& run = cell.measured;
    const std::string what = run.is_prefill
                                 ? fmt::format("prefill {}", run.tokens)
                                 : fmt::format("decode at {}, batch {}", run.context, run.batch);
    table.rows.push_back({cell.model, what, fmt::format("{:.4g}", run.tokens_per_s),
                          fmt::format("{:.4g}", cell.predicted.p10),
                          fmt::format("{:.4g}", cell.predicted.p50),
                          fmt::format("{:.4g}", cell.predicted.p90),
                          fmt::format("{:+.1f}", kPercent * cell.error())});
  }
  return table;
}

}  // namespace

void check_plan(const PlanCheck& options) {
  const auto source = find_machine_source(options.machine);
  if (!source) {
    fail(ErrorCode::InvalidArgument,
         "plan --check: no machine: run fathom probe once, or name one with --machine");
  }
  const std::string missing = plan::missing_for_speed(source->machine);
  if (!missing.empty()) {
    fail(ErrorCode::InvalidArgument, "--machine ", source->machine.name, ": not known: ", missing);
  }
  std::vector<plan::BenchRecord> records;
  for (const std::string& path : options.records) {
    records.push_back(read_record(path));
  }
  const Checks checks = {
      .meanwhile = plan::check_records(source->machine, records),
      .beforehand = plan::check_records(source->machine, records, plan::Against::ProfileAlone)};
  if (options.json) {
    print_out(check_json(checks, *source).dump(-1, ' ', false, Json::error_handler_t::replace) +
              "\n");
    return;
  }
  chart::Report report{.title = "Predictions and measurements on " + source->machine.name,
                       .summary = {},
                       .sections = {}};
  report.sections.push_back(
      {.heading = "Errors",
       .paragraphs = {source->machine.title + ", " + source->origin +
                      ". Each run is compared with the profile as the machine "
                      "was meanwhile: what memory, caches and barriers did is "
                      "in the record. Beforehand only the profile is known."},
       .points = {},
       .charts = {},
       .tables = {summary_table(checks), models_table(checks.meanwhile),
                  memory_table(checks.meanwhile), cells_table(checks.meanwhile)}});
  print_out(options.markdown ? chart::to_markdown(report) : chart::to_text(report));
}

}  // namespace fathom::app

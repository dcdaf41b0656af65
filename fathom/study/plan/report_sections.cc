#include "fathom/study/plan/report_sections.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "fathom/base/formats/number_text.h"
#include "fathom/model/config/footprint.h"
#include "fathom/study/plan/flops.h"

namespace fathom::plan {
namespace {

using chart::BarChart;
using chart::ChartHead;
using chart::LineChart;
using chart::Scale;
using chart::short_number;
using chart::Table;
using chart::TornadoChart;

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
constexpr double kPercent = 100;

// Four significant digits, without exponents in the range of prices and speeds.
std::string figure(double value) {
  if (!std::isfinite(value)) {
    return value > 0 ? "never" : "none";
  }
  const double magnitude = std::abs(value);
  if (magnitude >= 1e7) {
    return short_number(value);
  }
  return magnitude >= 1000 ? fmt::format("{:.0f}", value) : fmt::format("{:.4g}", value);
}

std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:.0f} %", kPercent * share) : "never";
}

std::string percent_interval(const Percentiles& shares) {
  return shares.is_exact() ? percent(shares.p50)
                           : fmt::format("{} ({} to {})", percent(shares.p50), percent(shares.p10),
                                         percent(shares.p90));
}

Table prices_table(const CostModel& model, const CostStudy& study) {
  Table table;
  table.caption = "US dollars per million tokens, p50 (p10 to p90)";
  table.columns = {
      {"tokens"}, {"on own machines", true}, {"over the API", true}, {"share of tokens", true}};
  for (const TokenClass token_class : kTokenClasses) {
    const auto idx = static_cast<std::size_t>(token_class);
    table.rows.push_back({std::string(to_string(token_class)),
                          interval_text(study.intervals.own_usd_per_million_tokens[idx]),
                          interval_text(study.intervals.api_usd_per_million_tokens[idx]),
                          percent(model.inputs().mix.of(token_class))});
  }
  return table;
}

struct CostPart {
  const char* name;
  double MonthlyCost::*usd;
};
constexpr std::array kCostParts = {CostPart{"capital", &MonthlyCost::capital_usd},
                                   CostPart{"energy", &MonthlyCost::energy_usd},
                                   CostPart{"operations", &MonthlyCost::operations_usd},
                                   CostPart{"other", &MonthlyCost::other_usd}};

Table parts_table(const CostStudy& study) {
  Table table;
  table.caption = "US dollars a month at the median of every input";
  table.columns = {{"part"}, {"USD per month", true}};
  for (const CostPart& part : kCostParts) {
    table.rows.push_back({part.name, figure(study.median.own.*part.usd)});
  }
  table.rows.push_back({"own machines, total", figure(study.median.own.total_usd())});
  table.rows.push_back({"API for the same tokens", figure(study.median.api_usd_per_month)});
  return table;
}

BarChart parts_chart(const CostStudy& study) {
  BarChart chart;
  chart.head = {
      "cost-parts", "Cost of a month by part",
      "Bars of US dollars a month for each part of the cost of own machines, and for the API."};
  chart.unit = "USD";
  for (const CostPart& part : kCostParts) {
    chart.bars.push_back({part.name, study.median.own.*part.usd});
  }
  chart.bars.push_back({"API for the same tokens", study.median.api_usd_per_month});
  return chart;
}

Table crossover_table(const CostModel& model, const CostStudy& study) {
  const CostIntervals& intervals = study.intervals;
  Table table;
  table.caption = fmt::format("Own machines or the API, {} draws", study.options.num_draws);
  table.columns = {{"figure"}, {"p50 (p10 to p90)", true}};
  table.rows = {
      {"utilisation where both cost the same", percent_interval(intervals.crossover_utilisation)},
      {"tokens a month there", interval_text(intervals.crossover_tokens_per_month)},
      {"utilisation at this traffic", percent_interval(intervals.utilisation)},
      {"own machines, USD per month", interval_text(intervals.own_usd_per_month)},
      {"API, USD per month", interval_text(intervals.api_usd_per_month)},
      {"saved by own machines, USD per month", interval_text(intervals.saving_usd_per_month)},
      {"draws in which own machines are cheaper", percent(intervals.share_own_is_cheaper)},
      {"draws without a crossover", percent(intervals.share_without_crossover)},
      {"draws with hours above capacity", percent(intervals.share_with_unserved_tokens)},
      {"machines, and spare ones",
       fmt::format("{} + {}", model.num_machines(), model.inputs().num_spare_machines)},
      {"sequences at a time", std::to_string(model.concurrency())}};
  return table;
}

TornadoChart tornado_chart(const CostStudy& study) {
  TornadoChart chart;
  chart.head = {
      "tornado", "What matters most",
      "For each uncertain quantity a bar from the monthly saving with it at its p10 to the "
      "saving with it at its p90, all others at their median; largest first."};
  chart.unit = "USD saved a month";
  chart.centre = study.median.saving_usd_per_month();
  for (const TornadoBar& bar : study.tornado) {
    chart.bars.push_back({bar.name, short_number(bar.value.p10), short_number(bar.value.p90),
                          bar.saving_usd_at_p10, bar.saving_usd_at_p90});
  }
  return chart;
}

Table tornado_table(const CostStudy& study) {
  Table table;
  table.caption = "Saving a month with one quantity at its p10 and p90, all others at p50";
  table.columns = {{"quantity"},         {"p10", true},        {"p90", true},
                   {"USD at p10", true}, {"USD at p90", true}, {"swing, USD", true}};
  for (const TornadoBar& bar : study.tornado) {
    table.rows.push_back({bar.name, figure(bar.value.p10), figure(bar.value.p90),
                          figure(bar.saving_usd_at_p10), figure(bar.saving_usd_at_p90),
                          figure(bar.swing_usd())});
  }
  return table;
}

LineChart break_even_chart(const CostStudy& study) {
  LineChart chart;
  chart.head = {
      "break-even", "Break-even: cost of a million tokens of the mix",
      "Two lines with bands over the utilisation of the machines: own machines get cheaper per "
      "token the more they compute, the API costs the same. They cross where both cost the same."};
  chart.x_label = "utilisation of the machines, %";
  chart.y_label = "USD per million tokens";
  chart.y_scale = Scale::Kind::Logarithmic;
  LineChart::Line own{"own machines", {}};
  LineChart::Line api{"API", {}};
  for (const BreakEvenPoint& point : study.break_even) {
    own.points.push_back({kPercent * point.utilisation, point.own_usd_per_million_tokens});
    api.points.push_back({kPercent * point.utilisation, point.api_usd_per_million_tokens});
  }
  chart.lines = {own, api};
  return chart;
}

Table break_even_table(const CostStudy& study) {
  Table table;
  table.caption = "US dollars per million tokens of the mix";
  table.columns = {
      {"utilisation", true}, {"tokens a month", true}, {"own machines", true}, {"API", true}};
  for (const BreakEvenPoint& point : study.break_even) {
    table.rows.push_back({percent(point.utilisation), short_number(point.tokens_per_month),
                          interval_text(point.own_usd_per_million_tokens),
                          interval_text(point.api_usd_per_million_tokens)});
  }
  return table;
}

Table basis_table(const CostStudy& study) {
  Table table;
  table.caption = "What these figures rest on";
  table.columns = {{"quantity"}, {"p10", true}, {"p50", true}, {"p90", true}, {"who says it"}};
  for (const Basis& basis : study.basis) {
    const Percentiles& value = basis.value;
    table.rows.push_back(
        value.is_exact()
            ? std::vector<std::string>{basis.name, "", figure(value.p50), "", basis.says}
            : std::vector<std::string>{basis.name, figure(value.p10), figure(value.p50),
                                       figure(value.p90), basis.says});
  }
  return table;
}

// Lines over one of two coordinates of the decoding grid, one line for each value of the other.
LineChart decode_chart(const MachineSpeed& speed, bool is_over_context) {
  std::map<Index, LineChart::Line> lines;
  for (const DecodePoint& point : speed.decode) {
    const Index x = is_over_context ? point.context_tokens : point.concurrency;
    const Index key = is_over_context ? point.concurrency : point.context_tokens;
    LineChart::Line& line = lines[key];
    line.name = is_over_context ? fmt::format("{} at a time", key)
                                : fmt::format("{} tokens", formats::grouped(key));
    line.points.push_back({static_cast<double>(x), point.tokens_per_s});
  }
  LineChart chart;
  chart.head =
      is_over_context
          ? ChartHead{"decode-context", "Decoding over the context",
                      "Lines with bands from p10 to p90 of tokens per second of all sequences "
                      "together, over the context, one for each number of sequences."}
          : ChartHead{"decode-batch", "Decoding over sequences at a time",
                      "Lines with bands from p10 to p90 of tokens per second of all sequences "
                      "together, over their number, one for each context."};
  chart.x_label = is_over_context ? "context, tokens" : "sequences at a time";
  chart.y_label = "tokens per second, all sequences";
  chart.x_scale = Scale::Kind::Logarithmic;
  for (auto& [key, line] : lines) {
    std::sort(line.points.begin(), line.points.end(),
              [](const auto& a, const auto& b) { return a.x < b.x; });
    chart.lines.push_back(std::move(line));
  }
  return chart;
}

bool has_several(const MachineSpeed& speed, Index DecodePoint::*coordinate) {
  std::set<Index> values;
  for (const DecodePoint& point : speed.decode) {
    values.insert(point.*coordinate);
  }
  return values.size() > 1;
}

Table published_table() {
  const PublishedTraining& v3 = deepseek_v3_training();
  Table table;
  table.caption = fmt::format("Published: {} ({})", v3.model, v3.source);
  table.columns = {{"part"}, {std::string(v3.accelerator) + " hours", true}, {"USD", true}};
  for (const PublishedPart& part : v3.parts) {
    table.rows.push_back({std::string(part.name), formats::grouped(part.gpu_hours),
                          formats::grouped(part.gpu_hours * v3.usd_per_gpu_hour)});
  }
  table.rows.push_back({"total", formats::grouped(v3.gpu_hours()), formats::grouped(v3.usd())});
  return table;
}

std::vector<std::string> estimate_row(const std::string& name,
                                      const TrainingPlan& plan,
                                      const std::string& source) {
  const TrainingEstimate found = estimate(plan);
  return {name,
          short_number(plan.tokens),
          fmt::format("{:.3g}", found.flop),
          fmt::format("{:.0f}", found.reached_flop_per_s / kTera),
          fmt::format("{:.2f}", found.gpu_hours / 1e6),
          found.usd > 0 ? fmt::format("{:.1f}", found.usd / 1e6) : "no price stated",
          plan.flop_basis + "; " + plan.hardware_basis + (source.empty() ? "" : "; " + source)};
}

Table estimates_table(const std::string& caption) {
  Table table;
  table.caption = caption;
  table.columns = {{"run"},
                   {"tokens", true},
                   {"FLOP", true},
                   {"TFLOP/s reached", true},
                   {"million hours", true},
                   {"million USD", true},
                   {"basis"}};
  return table;
}

// Both counts of the operations of one trained token, and why they differ.
void add_counts(const TrainingQuestion& question, Section& section) {
  const config::ModelConfig& config = *question.config;
  const auto active = static_cast<double>(config::count_parameters(config).active);
  const double simple = rule_of_thumb_training_flop(active, 1);
  const double exact = training_flop_per_token(config, question.sequence_tokens);
  const TokenFlop forwards = mean_prefill_flop(config, question.sequence_tokens, true);
  Table table;
  table.caption = fmt::format("Operations of one token in training, sequences of {} tokens",
                              question.sequence_tokens);
  table.columns = {{"count"}, {"GFLOP", true}};
  const auto add = [&](const char* name, double flop) {
    if (flop > 0) {
      table.rows.push_back({name, fmt::format("{:.2f}", flop / kGiga)});
    }
  };
  add("6 x active parameters", simple);
  add("every product, forwards and backwards", exact);
  add("  matrices of the layers", 3 * forwards.linears);
  add("  head", 3 * forwards.head);
  add("  attention over windows", 3 * forwards.window_attention);
  add("  sparse attention (CSA)", 3 * forwards.sparse_attention);
  add("  heavily compressed attention (HCA)", 3 * forwards.heavy_attention);
  add("  full attention", 3 * forwards.full_attention);
  add("  indexer", 3 * forwards.indexer);
  add("  mixing of streams", 3 * forwards.stream_mixing);
  section.tables.push_back(table);
  section.paragraphs.push_back(fmt::format(
      "6ND counts {:.4g}B active parameters (with the head, without the embedding) and no "
      "attention. "
      "Every product at {} tokens is {:+.1f} % against it: attention over the cache, the indexer's "
      "scores and the mixing of streams, less what is no product (norms, biases).",
      active / kGiga, question.sequence_tokens, kPercent * (exact / simple - 1)));
}

}  // namespace

std::string interval_text(const Percentiles& percentiles) {
  return percentiles.is_exact() ? figure(percentiles.p50)
                                : fmt::format("{} ({} to {})", figure(percentiles.p50),
                                              figure(percentiles.p10), figure(percentiles.p90));
}

Section memory_section(const std::vector<MemoryPart>& parts) {
  Section section;
  section.heading = "Memory";
  BarChart chart;
  chart.head = {"memory-parts", "Memory by part", "Bars of gigabytes for each part of the memory."};
  chart.unit = "GB";
  Table table;
  table.caption = "Memory by part";
  table.columns = {{"part"}, {"bytes", true}, {"GB", true}};
  double total = 0;
  for (const MemoryPart& part : parts) {
    chart.bars.push_back({part.name, part.bytes / kGiga});
    table.rows.push_back({part.name, formats::grouped(static_cast<Index>(part.bytes)),
                          fmt::format("{:.2f}", part.bytes / kGiga)});
    total += part.bytes;
  }
  table.rows.push_back(
      {"total", formats::grouped(static_cast<Index>(total)), fmt::format("{:.2f}", total / kGiga)});
  section.charts.emplace_back(chart);
  section.tables.push_back(table);
  return section;
}

Section speed_section(const MachineSpeed& speed) {
  Section section;
  section.heading = "Speed";
  section.paragraphs = {"Basis: " + speed.basis};
  if (has_several(speed, &DecodePoint::context_tokens)) {
    section.charts.emplace_back(decode_chart(speed, true));
  }
  if (has_several(speed, &DecodePoint::concurrency)) {
    section.charts.emplace_back(decode_chart(speed, false));
  }
  Table table;
  table.caption = "Tokens per second, p50 (p10 to p90)";
  table.columns = {{"context, tokens", true},
                   {"at a time", true},
                   {"decode, all", true},
                   {"decode, each", true}};
  for (const DecodePoint& point : speed.decode) {
    table.rows.push_back({formats::grouped(point.context_tokens), std::to_string(point.concurrency),
                          interval_text(point.tokens_per_s),
                          figure(point.tokens_per_s.p50 / static_cast<double>(point.concurrency))});
  }
  section.tables.push_back(table);
  section.points = {"prefill, tokens per second: " + interval_text(speed.prefill_tokens_per_s)};
  return section;
}

Section cost_section(const CostModel& model, const CostStudy& study) {
  Section section;
  section.heading = "Cost";
  section.charts = {parts_chart(study), break_even_chart(study)};
  section.tables = {prices_table(model, study), parts_table(study), crossover_table(model, study)};
  if (!study.tornado.empty()) {
    section.charts.emplace_back(tornado_chart(study));
    section.tables.push_back(tornado_table(study));
  }
  section.tables.push_back(break_even_table(study));
  section.tables.push_back(basis_table(study));
  section.points = study.notes;
  return section;
}

Section training_section(const TrainingQuestion& question) {
  const PublishedTraining& v3 = deepseek_v3_training();
  Section section;
  section.heading = "Training cost";
  section.tables.push_back(published_table());
  section.paragraphs.push_back(
      fmt::format("{} reached {:.0f} TFLOP/s on each {} in pre-training, {:.1f} % of its dense "
                  "BF16 peak of {:.0f}: "
                  "6 x {:.0f}B active parameters x {:.1f}T tokens = {:.3g} FLOP.",
                  v3.model, v3.flop_per_s_per_accelerator() / kTera, v3.accelerator,
                  kPercent * v3.utilisation(), v3.dense_peak_flop_per_s / kTera,
                  v3.active_parameters / kGiga, v3.tokens / kTera, v3.pre_training_flop()));
  if (question.config != nullptr) {
    add_counts(question, section);
  }
  Table scenarios =
      estimates_table("Scenarios, not facts: DeepSeek published no hours or cost of V4");
  for (const TrainingScenario& scenario : v4_scenarios()) {
    if (scenario.model == question.model) {
      scenarios.rows.push_back(
          estimate_row(std::string(scenario.name), scenario.plan, std::string(scenario.source)));
    }
  }
  if (!scenarios.rows.empty()) {
    section.tables.push_back(scenarios);
  }
  Table own = estimates_table("Runs with the hardware that was stated");
  for (const TrainingPlan& plan : question.plans) {
    own.rows.push_back(estimate_row(plan.name, plan, ""));
  }
  if (!own.rows.empty()) {
    section.tables.push_back(own);
  }
  for (const std::string_view text : included_in_training_cost()) {
    section.points.push_back("included: " + std::string(text));
  }
  for (const std::string_view text : excluded_from_training_cost()) {
    section.points.push_back("not included: " + std::string(text));
  }
  return section;
}

}  // namespace fathom::plan

#include "fathom/train/loop/run_report.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "fathom/base/platform/small_file.h"

namespace fathom::train {
namespace {

using chart::LineChart;
using chart::Section;
using chart::Table;

// More points than a plot has pixels only make the page slow.
constexpr Index kMostPoints = 400;
constexpr std::size_t kMostEvents = 50;
constexpr std::size_t kMostRows = 20;  // of a table

// Neighbouring points as one: its median within the range of a tenth to nine tenths.
std::vector<LineChart::Point> thin(const std::vector<std::pair<double, double>>& points) {
  std::vector<LineChart::Point> thinned;
  const Index count = to_index(points.size());
  const Index group = std::max<Index>(1, ceil_div(count, kMostPoints));
  for (Index first = 0; first < count; first += group) {
    std::vector<double> values;
    for (Index idx = first; idx < std::min(first + group, count); ++idx) {
      values.push_back(points[to_size(idx)].second);
    }
    std::sort(values.begin(), values.end());
    const auto at = [&](std::size_t tenths) { return values[(values.size() - 1) * tenths / 10]; };
    const Index middle = std::min(first + group / 2, count - 1);
    thinned.push_back({points[to_size(middle)].first, {at(1), at(5), at(9)}});
  }
  return thinned;
}

using Field = std::function<double(const MetricsPoint&)>;

LineChart::Line line_of(const MetricsHistory& history,
                        const std::string& name,
                        const Field& field) {
  std::vector<std::pair<double, double>> points;
  for (const MetricsPoint& point : history.steps) {
    points.emplace_back(static_cast<double>(point.step), field(point));
  }
  return {name, thin(points)};
}

LineChart plot(const std::string& id, const std::string& title, const std::string& unit) {
  return {.head = {.id = id,
                   .title = title,
                   .description = title + " over the steps; the band holds eight in ten of the "
                                          "steps that a point stands for"},
          .x_label = "step",
          .y_label = unit,
          .x_scale = chart::Scale::Kind::Linear,
          .y_scale = chart::Scale::Kind::Linear,
          .lines = {}};
}

Section loss_section(const MetricsHistory& history) {
  LineChart chart = plot("loss", "Loss", "nats per token");
  chart.lines.push_back(line_of(history, "training", [](const auto& point) { return point.loss; }));
  const bool has_mtp = std::any_of(history.steps.begin(), history.steps.end(),
                                   [](const auto& point) { return point.mtp_loss != 0; });
  if (has_mtp) {
    chart.lines.push_back(
        line_of(history, "second token (MTP)", [](const auto& point) { return point.mtp_loss; }));
  }
  Table table{.caption = "Validation",
              .columns = {{"step", true}, {"loss, nats per token", true}, {"standard error", true}},
              .rows = {}};
  LineChart::Line validation{"validation", {}};
  for (const ValidationPoint& point : history.validations) {
    const double error = point.standard_error.value_or(0);
    validation.points.push_back(
        {static_cast<double>(point.step), {point.loss - error, point.loss, point.loss + error}});
    table.rows.push_back({fmt::format("{}", point.step), fmt::format("{:.4f}", point.loss),
                          point.standard_error ? fmt::format("{:.4f}", error) : "unknown"});
  }
  if (!validation.points.empty()) {
    chart.lines.push_back(std::move(validation));
  }
  if (table.rows.size() > kMostRows) {
    table.caption += fmt::format(" (the last {} of {})", kMostRows, table.rows.size());
    table.rows.erase(table.rows.begin(), table.rows.end() - kMostRows);
  }
  Section section{.heading = "Loss", .paragraphs = {}, .points = {}, .charts = {}, .tables = {}};
  section.charts.emplace_back(std::move(chart));
  if (!table.rows.empty()) {
    section.tables.push_back(std::move(table));
  }
  return section;
}

Section optimiser_section(const MetricsHistory& history) {
  Section section{
      .heading = "Optimiser", .paragraphs = {}, .points = {}, .charts = {}, .tables = {}};
  LineChart rate = plot("learning-rate", "Learning rate", "learning rate");
  rate.lines.push_back(
      line_of(history, "rate", [](const auto& point) { return point.learning_rate; }));
  LineChart norm = plot("gradient-norm", "Gradient norm before clipping", "norm");
  norm.y_scale = chart::Scale::Kind::Logarithmic;
  norm.lines.push_back(
      line_of(history, "norm", [](const auto& point) { return point.gradient_norm; }));
  section.charts.emplace_back(std::move(rate));
  section.charts.emplace_back(std::move(norm));
  return section;
}

Section throughput_section(const MetricsHistory& history) {
  LineChart chart = plot("throughput", "Throughput", "tokens per second");
  chart.lines.push_back(
      line_of(history, "tokens/s", [](const auto& point) { return point.tokens_per_s; }));
  Section section{
      .heading = "Throughput", .paragraphs = {}, .points = {}, .charts = {}, .tables = {}};
  section.charts.emplace_back(std::move(chart));
  return section;
}

// Of the points that list shares, the mean over the last half: what the run settled to.
std::vector<std::vector<double>> settled_shares(const MetricsHistory& history) {
  std::vector<const MetricsPoint*> points;
  for (const MetricsPoint& point : history.steps) {
    if (!point.expert_shares.empty()) {
      points.push_back(&point);
    }
  }
  std::vector<std::vector<double>> mean;
  double count = 0;
  for (std::size_t idx = points.size() / 2; idx < points.size(); ++idx) {
    const auto& shares = points[idx]->expert_shares;
    if (mean.empty()) {
      mean = shares;
      count = 1;
      continue;
    }
    bool is_same_shape = shares.size() == mean.size();
    for (std::size_t layer = 0; is_same_shape && layer < mean.size(); ++layer) {
      is_same_shape = shares[layer].size() == mean[layer].size();
    }
    if (!is_same_shape) {
      continue;
    }
    for (std::size_t layer = 0; layer < mean.size(); ++layer) {
      for (std::size_t expert = 0; expert < mean[layer].size(); ++expert) {
        mean[layer][expert] += shares[layer][expert];
      }
    }
    ++count;
  }
  for (std::vector<double>& layer : mean) {
    for (double& share : layer) {
      share /= count;
    }
  }
  return mean;
}

std::optional<Section> experts_section(const MetricsHistory& history) {
  const std::vector<std::vector<double>> shares = settled_shares(history);
  if (std::all_of(shares.begin(), shares.end(), [](const auto& row) { return row.empty(); })) {
    return std::nullopt;
  }
  chart::HeatMap map{.head = {.id = "experts",
                              .title = "Load of experts",
                              .description = "Of each layer with experts, how much each expert "
                                             "computes beside an even share; mean over the later "
                                             "half of the run"},
                     .x_label = "expert",
                     .y_label = "layer",
                     .unit = "times an even share",
                     .centre = 1,
                     .largest = 2,
                     .rows = {}};
  Table table{.caption = "Largest and smallest load, in even shares",
              .columns = {{"layer"}, {"largest", true}, {"smallest", true}},
              .rows = {}};
  for (std::size_t layer = 0; layer < shares.size(); ++layer) {
    if (shares[layer].empty()) {
      continue;  // a layer without experts
    }
    std::vector<double> loads;
    for (const double share : shares[layer]) {
      loads.push_back(share * static_cast<double>(shares[layer].size()));
    }
    if (!loads.empty()) {
      const auto [low, high] = std::minmax_element(loads.begin(), loads.end());
      table.rows.push_back(
          {fmt::format("{}", layer), fmt::format("{:.2f}", *high), fmt::format("{:.2f}", *low)});
    }
    map.rows.push_back({fmt::format("{}", layer), std::move(loads)});
  }
  Section section{.heading = "Experts", .paragraphs = {}, .points = {}, .charts = {}, .tables = {}};
  section.charts.emplace_back(std::move(map));
  section.tables.push_back(std::move(table));
  return section;
}

Section events_section(const MetricsHistory& history) {
  Section section{.heading = "What happened",
                  .paragraphs = {},
                  .points = history.events,
                  .charts = {},
                  .tables = {}};
  if (section.points.size() > kMostEvents) {
    section.paragraphs.push_back(
        fmt::format("The last {} of {} events.", kMostEvents, section.points.size()));
    section.points.erase(section.points.begin(), section.points.end() - kMostEvents);
  }
  if (section.points.empty()) {
    section.paragraphs.emplace_back("Nothing was refused, nothing was interrupted.");
  }
  return section;
}

}  // namespace

chart::Report make_run_report(const MetricsHistory& history, const std::string& name) {
  chart::Report report{.title = "Training of " + name, .summary = {}, .sections = {}};
  if (!history.steps.empty()) {
    const MetricsPoint& last = history.steps.back();
    report.summary.push_back(fmt::format("step {}, {} tokens, {:.0f} s of training", last.step,
                                         last.tokens, last.seconds));
    report.summary.push_back(
        fmt::format("training loss of the last step: {:.4f} nats per token", last.loss));
  }
  if (!history.validations.empty()) {
    const ValidationPoint& last = history.validations.back();
    report.summary.push_back(fmt::format("validation loss at step {}: {} nats per token", last.step,
                                         loss_text(last.loss, last.standard_error)));
  }
  if (history.num_unreadable > 0) {
    report.summary.push_back(
        fmt::format("{} lines of the metrics could not be read", history.num_unreadable));
  }
  report.sections = {loss_section(history), optimiser_section(history)};
  if (auto experts = experts_section(history)) {
    report.sections.push_back(*std::move(experts));
  }
  report.sections.push_back(throughput_section(history));
  report.sections.push_back(events_section(history));
  return report;
}

void write_run_report(const std::filesystem::path& metrics,
                      const std::filesystem::path& path,
                      const std::string& name) {
  platform::write_file(
      path, chart::to_html(make_run_report(parse_metrics(platform::read_file(metrics)), name)));
}

}  // namespace fathom::train

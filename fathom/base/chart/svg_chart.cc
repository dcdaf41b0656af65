#include "fathom/base/chart/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "fathom/base/formats/text.h"

namespace fathom::chart {
namespace {

constexpr double kWidth = 860;
constexpr double kTop = 16;
constexpr double kRow = 28;
constexpr double kBar = 16;
constexpr double kLabelWidth = 250;  // of bars' names
constexpr double kValueWidth = 130;  // of the numbers behind them
constexpr double kPlotLeft = 70;
constexpr double kPlotRight = 690;  // names of lines stand behind it
constexpr double kPlotHeight = 300;
constexpr double kAxisHeight = 48;
constexpr double kLineHeight = 18;
constexpr std::size_t kNumLineStyles = 6;

std::string open(const ChartHead& head, double height) {
  const std::string id = escape_xml(head.id);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {:g} {:g}\" "
      "role=\"img\" aria-labelledby=\"{}-title {}-desc\">\n<title id=\"{}-title\">{}</title>\n"
      "<desc id=\"{}-desc\">{}</desc>\n",
      kWidth, height, id, id, id, escape_xml(head.title), id, escape_xml(head.description));
}

enum class Anchor { Start, Middle, End };

std::string label(
    double x, double y, const std::string& text, Anchor anchor, bool is_faint = false) {
  const char* const name = anchor == Anchor::Start ? "start"
                           : anchor == Anchor::End ? "end"
                                                   : "middle";
  return fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n",
                     is_faint ? "faint" : "ink", x, y, name, escape_xml(text));
}

std::string line(double x1, double y1, double x2, double y2, const char* kind) {
  return fmt::format(
      "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", kind, x1,
      y1, x2, y2);
}

std::string rect(double x, double y, double width, const char* kind) {
  return fmt::format(
      "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:g}\"/>\n", kind, x,
      y, std::max(width, 0.0), kBar);
}

std::string nothing(const ChartHead& head) {
  constexpr double kHeight = 60;
  return open(head, kHeight) +
         label(kWidth / 2, kHeight / 2, "nothing to draw", Anchor::Middle, true) + "</svg>\n";
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    if (std::isfinite(value)) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  bool is_empty() const { return low > high; }
};

bool can_be_drawn(const LineChart& chart, const LineChart::Point& point) {
  const auto fits = [](Scale::Kind kind, double value) {
    return std::isfinite(value) && (kind == Scale::Kind::Linear || value > 0);
  };
  return fits(chart.x_scale, point.x) && fits(chart.y_scale, point.y.p10) &&
         fits(chart.y_scale, point.y.p50) && fits(chart.y_scale, point.y.p90);
}

// The plot of a line chart: both scales, and pixels from values.
struct Plot {
  Scale x;
  Scale y;
  double left(double value) const { return kPlotLeft + x.place(value) * (kPlotRight - kPlotLeft); }
  double top(double value) const { return kTop + (1 - y.place(value)) * kPlotHeight; }
};

std::optional<Plot> plot_of(const LineChart& chart) {
  Range x;
  Range y;
  for (const LineChart::Line& drawn : chart.lines) {
    for (const LineChart::Point& point : drawn.points) {
      if (can_be_drawn(chart, point)) {
        x.add(point.x);
        y.add(point.y.p10);
        y.add(point.y.p50);
        y.add(point.y.p90);
      }
    }
  }
  if (x.is_empty()) {
    return std::nullopt;
  }
  if (chart.y_scale == Scale::Kind::Linear) {
    y.add(0);
  }
  return Plot{Scale(chart.x_scale, x.low, x.high, Scale::Ends::Data),
              Scale(chart.y_scale, y.low, y.high)};
}

std::string axes(const LineChart& chart, const Plot& plot) {
  const double bottom = kTop + kPlotHeight;
  std::string svg;
  for (const double tick : plot.y.ticks()) {
    svg += line(kPlotLeft, plot.top(tick), kPlotRight, plot.top(tick), "grid");
    svg += label(kPlotLeft - 8, plot.top(tick) + 4, short_number(tick), Anchor::End, true);
  }
  for (const double tick : plot.x.ticks()) {
    svg += line(plot.left(tick), bottom, plot.left(tick), bottom + 5, "axis");
    svg += label(plot.left(tick), bottom + 20, short_number(tick), Anchor::Middle, true);
  }
  svg += line(kPlotLeft, bottom, kPlotRight, bottom, "axis");
  svg += label((kPlotLeft + kPlotRight) / 2, bottom + 40, chart.x_label, Anchor::Middle);
  return svg;
}

std::string band_and_line(const LineChart& chart,
                          const LineChart::Line& drawn,
                          const Plot& plot,
                          std::size_t style) {
  std::string upper;
  std::string lower;
  std::string middle;
  for (const LineChart::Point& point : drawn.points) {
    if (can_be_drawn(chart, point)) {
      const double x = plot.left(point.x);
      upper += fmt::format("{:.1f},{:.1f} ", x, plot.top(point.y.p90));
      middle += fmt::format("{:.1f},{:.1f} ", x, plot.top(point.y.p50));
      lower.insert(0, fmt::format("{:.1f},{:.1f} ", x, plot.top(point.y.p10)));
    }
  }
  return fmt::format(
      "<polygon class=\"band s{}\" points=\"{}{}\"/>\n<polyline class=\"line s{}\" "
      "points=\"{}\"/>\n",
      style, upper, lower, style, middle);
}

// Names behind the ends of their lines, pushed apart where they would touch.
std::string names(const LineChart& chart, const Plot& plot) {
  struct Name {
    double y;
    std::size_t idx;
  };
  std::vector<Name> order;
  for (std::size_t idx = 0; idx < chart.lines.size(); ++idx) {
    const auto& points = chart.lines[idx].points;
    const auto last = std::find_if(points.rbegin(), points.rend(),
                                   [&](const auto& point) { return can_be_drawn(chart, point); });
    if (last != points.rend()) {
      order.push_back({plot.top(last->y.p50), idx});
    }
  }
  std::sort(order.begin(), order.end(), [](const Name& a, const Name& b) { return a.y < b.y; });
  for (std::size_t at = 1; at < order.size(); ++at) {
    order[at].y = std::max(order[at].y, order[at - 1].y + kLineHeight);
  }
  const double excess = order.empty() ? 0 : order.back().y - (kTop + kPlotHeight);
  std::string svg;
  for (const Name& name : order) {
    const double y = name.y - std::max(0.0, excess);
    const std::string kind = fmt::format("line s{}", name.idx % kNumLineStyles);
    svg += line(kPlotRight + 8, y, kPlotRight + 34, y, kind.c_str());
    svg += label(kPlotRight + 40, y + 4, chart.lines[name.idx].name, Anchor::Start);
  }
  return svg;
}

std::string tornado_row(const TornadoChart& chart,
                        const TornadoChart::Bar& bar,
                        const Scale& scale,
                        double y) {
  const double left = kLabelWidth;
  const double width = kWidth - kLabelWidth - kValueWidth;
  const auto x = [&](double value) { return left + scale.place(value) * width; };
  const double middle = y + kRow / 2;
  std::string svg = label(left - 10, middle + 4, bar.label, Anchor::End);
  const auto half = [&](double value, const char* kind) {
    const double from = std::min(x(value), x(chart.centre));
    return rect(from, middle - kBar / 2, std::abs(x(value) - x(chart.centre)), kind);
  };
  svg += half(bar.at_low, "low");
  svg += half(bar.at_high, "high");
  svg += label(left + width + 10, middle + 4, bar.low_label + " to " + bar.high_label,
               Anchor::Start, true);
  return svg;
}

}  // namespace

std::string escape_xml(const std::string& text) {
  const bool is_utf8 = formats::is_utf8(text);
  std::string out;
  for (const char letter : text) {
    const bool is_ascii = static_cast<unsigned char>(letter) < 0x80;
    if (!is_ascii && !is_utf8) {
      out += '?';
      continue;
    }
    switch (letter) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(letter) < ' ' ? ' ' : letter;
    }
  }
  return out;
}

std::string draw(const BarChart& chart) {
  Range range;
  range.add(0);
  for (const BarChart::Bar& bar : chart.bars) {
    range.add(bar.value);
  }
  if (chart.bars.empty()) {
    return nothing(chart.head);
  }
  const Scale scale(Scale::Kind::Linear, range.low, range.high);
  const double width = kWidth - kLabelWidth - kValueWidth;
  std::string svg = open(chart.head, 2 * kTop + kRow * static_cast<double>(chart.bars.size()));
  double y = kTop;
  for (const BarChart::Bar& bar : chart.bars) {
    const double middle = y + kRow / 2;
    const double length = scale.place(bar.value) * width;
    svg += label(kLabelWidth - 10, middle + 4, bar.label, Anchor::End);
    svg += rect(kLabelWidth, middle - kBar / 2, length, "fill s0");
    svg += label(kLabelWidth + length + 8, middle + 4, short_number(bar.value) + " " + chart.unit,
                 Anchor::Start);
    y += kRow;
  }
  return svg + line(kLabelWidth, kTop, kLabelWidth, y, "axis") + "</svg>\n";
}

std::string draw(const LineChart& chart) {
  const std::optional<Plot> plot = plot_of(chart);
  if (!plot) {
    return nothing(chart.head);
  }
  std::string svg = open(chart.head, kTop + kPlotHeight + kAxisHeight + kLineHeight);
  // The label of y lies along its axis.
  svg += fmt::format(
      "<text class=\"ink\" transform=\"translate(14 {:g}) rotate(-90)\" "
      "text-anchor=\"middle\">{}</text>\n",
      kTop + kPlotHeight / 2, escape_xml(chart.y_label));
  svg += axes(chart, *plot);
  for (std::size_t idx = 0; idx < chart.lines.size(); ++idx) {
    svg += band_and_line(chart, chart.lines[idx], *plot, idx % kNumLineStyles);
  }
  return svg + names(chart, *plot) + "</svg>\n";
}

std::string draw(const TornadoChart& chart) {
  Range range;
  range.add(chart.centre);
  for (const TornadoChart::Bar& bar : chart.bars) {
    range.add(bar.at_low);
    range.add(bar.at_high);
  }
  if (chart.bars.empty()) {
    return nothing(chart.head);
  }
  const Scale scale(Scale::Kind::Linear, range.low, range.high);
  const double width = kWidth - kLabelWidth - kValueWidth;
  const double bottom = kTop + kRow * static_cast<double>(chart.bars.size());
  std::string svg = open(chart.head, bottom + kAxisHeight + kLineHeight);
  for (const double tick : scale.ticks()) {
    const double x = kLabelWidth + scale.place(tick) * width;
    svg += line(x, kTop, x, bottom, "grid");
    svg += label(x, bottom + 18, short_number(tick), Anchor::Middle, true);
  }
  double y = kTop;
  for (const TornadoChart::Bar& bar : chart.bars) {
    svg += tornado_row(chart, bar, scale, y);
    y += kRow;
  }
  const double centre = kLabelWidth + scale.place(chart.centre) * width;
  svg += line(centre, kTop - 6, centre, bottom, "axis");
  const double legend = bottom + 30;
  svg += rect(kLabelWidth, legend, kBar, "low");
  svg += label(kLabelWidth + 22, legend + 13, "with the quantity at its p10", Anchor::Start);
  svg += rect(kLabelWidth + 230, legend, kBar, "high");
  svg += label(kLabelWidth + 252, legend + 13, "at its p90", Anchor::Start);
  svg += label(kWidth - 10, legend + 13, chart.unit, Anchor::End, true);
  return svg + "</svg>\n";
}

std::string draw(const HeatMap& chart) {
  std::size_t num_columns = 0;
  for (const HeatMap::Row& row : chart.rows) {
    num_columns = std::max(num_columns, row.values.size());
  }
  if (num_columns == 0) {
    return nothing(chart.head);
  }
  const double cell = (kPlotRight - kPlotLeft) / static_cast<double>(num_columns);
  const double bottom = kTop + kBar * static_cast<double>(chart.rows.size());
  std::string svg = open(chart.head, bottom + kAxisHeight + kRow);
  double y = kTop;
  for (const HeatMap::Row& row : chart.rows) {
    svg += label(kPlotLeft - 8, y + kBar - 4, row.label, Anchor::End, true);
    for (std::size_t column = 0; column < row.values.size(); ++column) {
      const double distance = row.values[column] - chart.centre;
      const double shade =
          std::min(1.0, std::abs(distance) / std::abs(chart.largest - chart.centre));
      svg += fmt::format(
          "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:g}\" "
          "fill-opacity=\"{:.2f}\"/>\n",
          distance < 0 ? "high" : "low", kPlotLeft + cell * static_cast<double>(column), y, cell,
          kBar, std::isfinite(shade) ? shade : 1.0);
    }
    y += kBar;
  }
  const double legend = bottom + kRow;
  svg += label((kPlotLeft + kPlotRight) / 2, bottom + 18, chart.x_label, Anchor::Middle);
  svg += label(kPlotRight + 8, kTop + kBar, chart.y_label, Anchor::Start);
  svg += rect(kPlotLeft, legend, kBar, "low");
  svg += label(kPlotLeft + 22, legend + 13,
               short_number(chart.largest) + " " + chart.unit + " and more", Anchor::Start);
  svg += rect(kPlotLeft + 330, legend, kBar, "high");
  svg += label(kPlotLeft + 352, legend + 13,
               short_number(2 * chart.centre - chart.largest) + " and less", Anchor::Start);
  return svg + "</svg>\n";
}

std::string chart_style() {
  return R"(.chart{width:100%;height:auto;font:13px sans-serif}
.chart .ink{fill:var(--ink)}.chart .faint{fill:var(--faint)}
.chart .grid{stroke:var(--grid);stroke-width:1}.chart .axis{stroke:var(--faint);stroke-width:1}
.chart .s0{--tone:var(--tone0)}.chart .s1{--tone:var(--tone1)}.chart .s2{--tone:var(--tone2)}
.chart .s3{--tone:var(--tone3)}.chart .s4{--tone:var(--tone4)}.chart .s5{--tone:var(--tone5)}
.chart .fill{fill:var(--tone)}.chart .band{fill:var(--tone);opacity:.18}
.chart .line{fill:none;stroke:var(--tone);stroke-width:2.2}
.chart .line.s1{stroke-dasharray:8 4}.chart .line.s2{stroke-dasharray:2 3}
.chart .line.s3{stroke-dasharray:10 3 2 3}.chart .line.s4{stroke-dasharray:5 5}
.chart .line.s5{stroke-dasharray:1 5}
.chart .low{fill:var(--tone1)}.chart .high{fill:var(--tone0)}
)";
}

}  // namespace fathom::chart

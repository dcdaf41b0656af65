// Charts as SVG: plain shapes and text, nothing from outside, no scripts.
//
// Colours are classes of chart_style(), which follow the reader's light or dark scheme; lines
// differ in their dashes too. Every chart has a title and a description for those who do not see
// it, and stands beside the table of its figures.
#pragma once

#include <string>
#include <vector>

#include "fathom/base/chart/chart_scale.h"
#include "fathom/base/chart/percentiles.h"

namespace fathom::chart {

// What every chart has. `id` makes the names of its parts unique on a page: letters, digits, '-'.
struct ChartHead {
  std::string id;
  std::string title;
  std::string description;
};

// Horizontal bars, each with its number behind it.
struct BarChart {
  ChartHead head;
  std::string unit;  // behind every number
  struct Bar {
    std::string label;
    double value = 0;  // at least 0
  };
  std::vector<Bar> bars;
};

// Lines through medians within bands from p10 to p90. Infinite values are left out.
struct LineChart {
  ChartHead head;
  std::string x_label;
  std::string y_label;
  Scale::Kind x_scale = Scale::Kind::Linear;
  Scale::Kind y_scale = Scale::Kind::Linear;
  struct Point {
    double x = 0;
    Percentiles y;
  };
  struct Line {
    std::string name;
    std::vector<Point> points;  // in ascending order of x
  };
  std::vector<Line> lines;
};

// Bars around a centre: the result with a quantity at its p10 and at its p90.
struct TornadoChart {
  ChartHead head;
  std::string unit;
  double centre = 0;
  struct Bar {
    std::string label;
    std::string low_label;   // the quantity at its p10
    std::string high_label;  // and at its p90
    double at_low = 0;
    double at_high = 0;
  };
  std::vector<Bar> bars;
};

// Cells in rows, each shaded by how far its value lies above or below the centre.
struct HeatMap {
  ChartHead head;
  std::string x_label;  // of the places in a row, counted from 0
  std::string y_label;
  std::string unit;
  double centre = 0;   // without shade
  double largest = 1;  // in full shade, as is what lies as far below the centre
  struct Row {
    std::string label;
    std::vector<double> values;
  };
  std::vector<Row> rows;
};

// One <svg> element. Charts without anything to draw say so.
std::string draw(const BarChart& chart);
std::string draw(const LineChart& chart);
std::string draw(const TornadoChart& chart);
std::string draw(const HeatMap& chart);

// The rules of a <style> element that all charts of a page need once.
std::string chart_style();

// Text for a place between tags or in an attribute in double quotes. Control characters, which XML
// has no way to write, become spaces; in what is not UTF-8, every byte beyond ASCII a question
// mark.
std::string escape_xml(const std::string& text);

}  // namespace fathom::chart

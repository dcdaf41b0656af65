// A report of sections with tables and charts, written as text, Markdown or one HTML page.
//
// The page needs nothing from outside: no scripts, fonts or files. In text and Markdown the tables
// stand for the charts, so every chart must have its figures in a table of its section.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "fathom/base/chart/svg_chart.h"

namespace fathom::chart {

struct Table {
  struct Column {
    std::string name;  // with its unit
    bool is_number = false;
  };
  std::string caption;
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  // as many cells as columns
};

using Chart = std::variant<BarChart, LineChart, TornadoChart, HeatMap>;

struct Section {
  std::string heading;
  std::vector<std::string> paragraphs;
  std::vector<std::string> points;  // a list
  std::vector<Chart> charts;
  std::vector<Table> tables;
};

struct Report {
  std::string title;
  std::vector<std::string> summary;  // a list before the first section
  std::vector<Section> sections;
};

std::string to_text(const Report& report);
std::string to_markdown(const Report& report);
std::string to_html(const Report& report);

}  // namespace fathom::chart

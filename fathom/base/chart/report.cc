#include "fathom/base/chart/report.h"

#include <algorithm>

#include <fmt/format.h>

#include "fathom/base/core/error.h"

namespace fathom::chart {
namespace {

void check_shape(const Table& table) {
  for (const std::vector<std::string>& row : table.rows) {
    FATHOM_CHECK(row.size() == table.columns.size());
  }
}

// Columns are as wide as their widest cell; UTF-8 counts by its characters.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char letter) {
    return (static_cast<unsigned char>(letter) & 0xC0U) != 0x80;
  }));
}

std::string padded(const std::string& text, std::size_t width, bool is_number) {
  const std::string room(width - std::min(width, width_of(text)), ' ');
  return is_number ? room + text : text + room;
}

std::string text_of(const Table& table) {
  check_shape(table);
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < table.columns.size(); ++column) {
    std::size_t width = width_of(table.columns[column].name);
    for (const std::vector<std::string>& row : table.rows) {
      width = std::max(width, width_of(row[column]));
    }
    widths.push_back(width);
  }
  const auto line_of = [&](const auto& cell_of) {
    std::string line = " ";
    for (std::size_t column = 0; column < table.columns.size(); ++column) {
      line += " " + padded(cell_of(column), widths[column], table.columns[column].is_number) + " ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line + "\n";
  };
  std::string text = table.caption.empty() ? "" : "  " + table.caption + "\n";
  text += line_of([&](std::size_t column) { return table.columns[column].name; });
  for (const std::vector<std::string>& row : table.rows) {
    text += line_of([&](std::size_t column) { return row[column]; });
  }
  return text + "\n";
}

// Text in a Markdown cell or paragraph: what would be markup is escaped.
std::string escape_markdown(const std::string& text) {
  std::string out;
  for (const char letter : text) {
    if (letter == '|' || letter == '\\' || letter == '`' || letter == '*' || letter == '<') {
      out += '\\';
    }
    out += letter == '\n' || letter == '\r' ? ' ' : letter;
  }
  return out;
}

std::string markdown_of(const Table& table) {
  check_shape(table);
  std::string text = table.caption.empty() ? "" : escape_markdown(table.caption) + ":\n\n";
  std::string rule = "|";
  text += "|";
  for (const Table::Column& column : table.columns) {
    text += " " + escape_markdown(column.name) + " |";
    rule += column.is_number ? "---:|" : "---|";
  }
  text += "\n" + rule + "\n";
  for (const std::vector<std::string>& row : table.rows) {
    text += "|";
    for (const std::string& cell : row) {
      text += " " + escape_markdown(cell) + " |";
    }
    text += "\n";
  }
  return text + "\n";
}

std::string html_of(const Table& table) {
  check_shape(table);
  std::string text = "<div class=\"scroll\"><table>\n";
  if (!table.caption.empty()) {
    text += "<caption>" + escape_xml(table.caption) + "</caption>\n";
  }
  const auto class_of = [&](std::size_t column) {
    return table.columns[column].is_number ? " class=\"number\"" : "";
  };
  text += "<thead><tr>";
  for (std::size_t column = 0; column < table.columns.size(); ++column) {
    text += fmt::format("<th scope=\"col\"{}>{}</th>", class_of(column),
                        escape_xml(table.columns[column].name));
  }
  text += "</tr></thead>\n<tbody>\n";
  for (const std::vector<std::string>& row : table.rows) {
    text += "<tr>";
    for (std::size_t column = 0; column < row.size(); ++column) {
      text += column == 0 ? fmt::format("<th scope=\"row\"{}>{}</th>", class_of(column),
                                        escape_xml(row[column]))
                          : fmt::format("<td{}>{}</td>", class_of(column), escape_xml(row[column]));
    }
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

std::string html_of(const Chart& chart) {
  return std::visit(
      [](const auto& drawn) {
        return "<figure><figcaption>" + escape_xml(drawn.head.title) + "</figcaption>\n" +
               draw(drawn) + "</figure>\n";
      },
      chart);
}

std::string html_list(const std::vector<std::string>& points) {
  std::string text;
  for (const std::string& point : points) {
    text += "<li>" + escape_xml(point) + "</li>\n";
  }
  return text.empty() ? text : "<ul>\n" + text + "</ul>\n";
}

std::string markdown_list(const std::vector<std::string>& points) {
  std::string text;
  for (const std::string& point : points) {
    text += "- " + escape_markdown(point) + "\n";
  }
  return text.empty() ? text : text + "\n";
}

std::string text_list(const std::vector<std::string>& points) {
  std::string text;
  for (const std::string& point : points) {
    text += "  - " + point + "\n";
  }
  return text.empty() ? text : text + "\n";
}

constexpr const char* kPageStyle = R"(:root{color-scheme:light dark;--back:#fff;--ink:#1f2328;
--faint:#59636e;--grid:#d1d9e0;--tone0:#0969da;--tone1:#bc4c00;--tone2:#8250df;--tone3:#1a7f37;
--tone4:#bf3989;--tone5:#4d5b6a}
@media(prefers-color-scheme:dark){:root{--back:#0d1117;--ink:#f0f6fc;--faint:#9198a1;--grid:#3d444d;
--tone0:#4493f8;--tone1:#db6d28;--tone2:#ab7df8;--tone3:#3fb950;--tone4:#db61a2;--tone5:#9eb0c3}}
body{margin:0 auto;padding:1.5rem;max-width:58rem;background:var(--back);color:var(--ink);
font:16px/1.5 sans-serif}
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.5rem;border-bottom:1px solid var(--grid)}
figure{margin:1.5rem 0}figcaption{font-weight:bold}
.scroll{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.9rem}
caption{text-align:left;font-weight:bold;padding:.3rem 0}
th,td{text-align:left;padding:.25rem .8rem;border-bottom:1px solid var(--grid);vertical-align:top}
tbody th{font-weight:normal}thead th{color:var(--faint)}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
)";

}  // namespace

std::string to_text(const Report& report) {
  std::string text = report.title + "\n\n" + text_list(report.summary);
  for (const Section& section : report.sections) {
    text += section.heading + "\n";
    for (const std::string& paragraph : section.paragraphs) {
      text += "  " + paragraph + "\n";
    }
    text += section.paragraphs.empty() ? "" : "\n";
    for (const Table& table : section.tables) {
      text += text_of(table);
    }
    text += text_list(section.points);
  }
  return text;
}

std::string to_markdown(const Report& report) {
  std::string text = "# " + escape_markdown(report.title) + "\n\n" + markdown_list(report.summary);
  for (const Section& section : report.sections) {
    text += "## " + escape_markdown(section.heading) + "\n\n";
    for (const std::string& paragraph : section.paragraphs) {
      text += escape_markdown(paragraph) + "\n\n";
    }
    for (const Table& table : section.tables) {
      text += markdown_of(table);
    }
    text += markdown_list(section.points);
  }
  return text;
}

std::string to_html(const Report& report) {
  const std::string title = escape_xml(report.title);
  std::string text = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  text += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
          title + "</title>\n<style>\n" + kPageStyle + chart_style() +
          "</style>\n</head>\n<body>\n";
  text += "<main>\n<h1>" + title + "</h1>\n" + html_list(report.summary);
  for (const Section& section : report.sections) {
    text += "<section>\n<h2>" + escape_xml(section.heading) + "</h2>\n";
    for (const std::string& paragraph : section.paragraphs) {
      text += "<p>" + escape_xml(paragraph) + "</p>\n";
    }
    for (const Chart& chart : section.charts) {
      text += html_of(chart);
    }
    for (const Table& table : section.tables) {
      text += html_of(table);
    }
    text += html_list(section.points) + "</section>\n";
  }
  return text + "</main>\n</body>\n</html>\n";
}

}  // namespace fathom::chart

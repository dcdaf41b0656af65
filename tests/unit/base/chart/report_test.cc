#include "fathom/base/chart/report.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/base/chart/markup.h"

namespace fathom::chart {
namespace {

using testing::count_of;
using testing::fails_with;
using testing::is_well_formed;

Report report() {
  Table table;
  table.caption = "Memory";
  table.columns = {{"part"}, {"bytes", true}};
  table.rows = {{"a|b <c>", "12"}, {"longer name", "3"}};
  const BarChart chart{{"bars", "Bars", "Two bars"}, "B", {{"a", 12}, {"b", 3}}};
  return {"Plan of <x>",
          {"first & last"},
          {{"Memory", {"A paragraph."}, {"a point"}, {chart}, {table}}}};
}

TEST(Report, HtmlIsOneWellFormedPageWithNothingFromOutside) {
  const std::string html = to_html(report());
  EXPECT_TRUE(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
  EXPECT_TRUE(is_well_formed(html.substr(html.find("<html"))));
  for (const char* piece : {"<script", "src=", "@import", "url(", "<link"}) {
    EXPECT_EQ(html.find(piece), std::string::npos) << piece;
  }
  EXPECT_EQ(count_of(html, "http"), 1U);  // the SVG namespace
  EXPECT_NE(html.find("prefers-color-scheme:dark"), std::string::npos);
}

TEST(Report, HtmlHasChartAndTable) {
  const std::string html = to_html(report());
  EXPECT_EQ(count_of(html, "<svg"), 1U);
  EXPECT_NE(html.find("<caption>Memory</caption>"), std::string::npos);
  EXPECT_NE(html.find("<th scope=\"row\">a|b &lt;c&gt;</th><td class=\"number\">12</td>"),
            std::string::npos);
}

TEST(Report, MarkdownTablesKeepTheirCells) {
  const std::string markdown = to_markdown(report());
  EXPECT_TRUE(markdown.starts_with("# Plan of \\<x>\n"));
  EXPECT_NE(markdown.find("| part | bytes |\n|---|---:|\n| a\\|b \\<c> | 12 |\n"),
            std::string::npos);
  EXPECT_NE(markdown.find("- a point\n"), std::string::npos);
  EXPECT_EQ(markdown.find("svg"), std::string::npos);
}

TEST(Report, TextColumnsAreAligned) {
  const std::string text = to_text(report());
  EXPECT_NE(text.find("  part         bytes\n  a|b <c>         12\n  longer name      3\n"),
            std::string::npos)
      << text;
}

TEST(Report, ARowOfAnotherWidthIsABug) {
  Report bad = report();
  bad.sections[0].tables[0].rows[0].pop_back();
  EXPECT_TRUE(fails_with(ErrorCode::Internal, "", [&] { to_html(bad); }));
  EXPECT_TRUE(fails_with(ErrorCode::Internal, "", [&] { to_markdown(bad); }));
  EXPECT_TRUE(fails_with(ErrorCode::Internal, "", [&] { to_text(bad); }));
}

}  // namespace
}  // namespace fathom::chart

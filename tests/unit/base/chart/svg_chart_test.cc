#include "fathom/base/chart/svg_chart.h"

#include <cstdlib>
#include <limits>

#include <gtest/gtest.h>

#include "tests/unit/base/chart/markup.h"

namespace fathom::chart {
namespace {

using testing::count_of;
using testing::is_well_formed;

const ChartHead kHead = {"chart-1", "Title & more", "What is \"seen\" <here>"};

BarChart bars() {
  return {kHead, "GB", {{"experts", 150}, {"head", 75}, {"none", 0}}};
}

LineChart lines() {
  LineChart chart;
  chart.head = kHead;
  chart.x_label = "x";
  chart.y_label = "y";
  chart.lines = {{"one", {{0, {1, 2, 3}}, {10, {2, 3, 4}}}},
                 {"two", {{0, {5, 5, 5}}, {10, {5, 5, 5}}}}};
  return chart;
}

TornadoChart tornado() {
  return {kHead, "USD", 100, {{"capital", "1", "2", 50, 200}, {"power", "3", "4", 120, 90}}};
}

HeatMap heat() {
  return {kHead, "expert", "layer", "times", 1, 2, {{"0", {1, 2, 3, 0}}, {"1", {0.5, 1.5, 1, 1}}}};
}

// The number of an attribute in every tag that holds `mark`, in their order.
std::vector<double> numbers(const std::string& svg,
                            const std::string& mark,
                            const std::string& name) {
  const std::string attribute = std::string(" ").append(name).append("=\"");
  std::vector<double> found;
  for (std::size_t at = svg.find(mark); at != std::string::npos; at = svg.find(mark, at + 1)) {
    const std::size_t begin = svg.rfind('<', at);
    const std::string tag = svg.substr(begin, svg.find('>', at) - begin);
    const std::size_t value = tag.find(attribute);
    if (value != std::string::npos) {
      found.push_back(std::strtod(tag.c_str() + value + attribute.size(), nullptr));
    }
  }
  return found;
}

TEST(SvgChart, EveryChartIsWellFormedWithTitleAndDescription) {
  for (const std::string& svg : {draw(bars()), draw(lines()), draw(tornado()), draw(heat())}) {
    EXPECT_TRUE(is_well_formed(svg));
    EXPECT_NE(svg.find("<title id=\"chart-1-title\">Title &amp; more</title>"), std::string::npos);
    EXPECT_NE(svg.find("<desc id=\"chart-1-desc\">What is &quot;seen&quot; &lt;here&gt;</desc>"),
              std::string::npos);
    EXPECT_NE(svg.find("aria-labelledby=\"chart-1-title chart-1-desc\""), std::string::npos);
    EXPECT_EQ(svg.find("script"), std::string::npos);
    EXPECT_EQ(count_of(svg, "http"), 1U);  // the namespace alone
  }
}

TEST(SvgChart, BarsAreAsLongAsTheirValues) {
  const std::vector<double> widths = numbers(draw(bars()), "class=\"fill s0\"", "width");
  ASSERT_EQ(widths.size(), 3U);
  EXPECT_NEAR(widths[1] / widths[0], 0.5, 0.001);
  EXPECT_EQ(widths[2], 0);
}

TEST(SvgChart, ALineHasItsBandAndItsName) {
  const std::string svg = draw(lines());
  EXPECT_EQ(count_of(svg, "<polygon class=\"band"), 2U);
  EXPECT_EQ(count_of(svg, "<polyline class=\"line"), 2U);
  EXPECT_NE(svg.find(">one</text>"), std::string::npos);
  EXPECT_NE(svg.find(">two</text>"), std::string::npos);
}

TEST(SvgChart, NamesOfLinesThatEndTogetherDoNotTouch) {
  LineChart chart = lines();
  for (int idx = 0; idx < 8; ++idx) {
    chart.lines.push_back({"n" + std::to_string(idx), chart.lines[0].points});
  }
  const std::string svg = draw(chart);
  const std::vector<double> places = numbers(svg, "text-anchor=\"start\"", "y");
  ASSERT_EQ(places.size(), 10U);
  for (std::size_t idx = 1; idx < places.size(); ++idx) {
    EXPECT_GE(places[idx] - places[idx - 1], 17.9);
  }
}

TEST(SvgChart, InfiniteAndImpossiblePointsAreLeftOut) {
  LineChart chart = lines();
  const std::string before = draw(chart);
  const double infinity = std::numeric_limits<double>::infinity();
  chart.lines[0].points.push_back({11, {1, infinity, infinity}});
  EXPECT_EQ(draw(chart), before);
  chart.y_scale = Scale::Kind::Logarithmic;
  const std::string logarithmic = draw(chart);
  chart.lines[0].points.push_back({12, {0, 1, 2}});
  EXPECT_EQ(draw(chart), logarithmic);
}

TEST(SvgChart, TornadoBarsBeginAtTheCentre) {
  const std::string svg = draw(tornado());
  const std::vector<double> low_x = numbers(svg, "class=\"low\"", "x");
  const std::vector<double> low_width = numbers(svg, "class=\"low\"", "width");
  const std::vector<double> high_x = numbers(svg, "class=\"high\"", "x");
  ASSERT_GE(low_x.size(), 2U);
  EXPECT_NEAR(low_x[0] + low_width[0], high_x[0], 0.11);  // 50 below the centre, 200 above
  EXPECT_NEAR(numbers(svg, "class=\"high\"", "width")[0] / low_width[0], 2, 0.01);
  EXPECT_NEAR(numbers(svg, "class=\"high\"", "width")[1] / low_width[1], 0.5, 0.01);
}

TEST(SvgChart, CellsAreShadedByTheirDistanceFromTheCentre) {
  const std::string svg = draw(heat());
  // Legend squares have no opacity of their own.
  EXPECT_EQ(numbers(svg, "class=\"low\"", "fill-opacity"),
            (std::vector<double>{0, 1, 1, 0.5, 0, 0}));
  EXPECT_EQ(numbers(svg, "class=\"high\"", "fill-opacity"), (std::vector<double>{1, 0.5}));
}

TEST(SvgChart, NothingToDrawIsSaid) {
  for (const std::string& svg :
       {draw(BarChart{kHead, "GB", {}}), draw(TornadoChart{kHead, "", 0, {}}),
        draw(LineChart{kHead, "", "", {}, {}, {}}), draw(HeatMap{kHead, "", "", "", 1, 2, {}})}) {
    EXPECT_TRUE(is_well_formed(svg));
    EXPECT_NE(svg.find("nothing to draw"), std::string::npos);
  }
}

TEST(SvgChart, OneValueIsDrawn) {
  LineChart chart = lines();
  chart.lines = {{"point", {{5, {0, 0, 0}}}}};
  EXPECT_TRUE(is_well_formed(draw(chart)));
  EXPECT_EQ(draw(chart).find("nan"), std::string::npos);
  EXPECT_EQ(draw(BarChart{kHead, "", {{"zero", 0}}}).find("nan"), std::string::npos);
}

TEST(SvgChart, TextThatIsNoXmlIsMadeSo) {
  EXPECT_EQ(escape_xml("a<b>&\"c\"\n\x01"), "a&lt;b&gt;&amp;&quot;c&quot;  ");
  EXPECT_EQ(escape_xml("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(escape_xml("bad\xff"), "bad?");
}

}  // namespace
}  // namespace fathom::chart

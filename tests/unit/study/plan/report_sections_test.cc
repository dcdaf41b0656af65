#include "fathom/study/plan/report_sections.h"

#include <limits>
#include <set>

#include <gtest/gtest.h>

#include "tests/unit/base/chart/markup.h"
#include "tests/unit/model/config/config_testing.h"
#include "tests/unit/study/plan/buyers.h"

namespace fathom::plan {
namespace {

using chart::Report;
using chart::Table;
using chart::to_html;
using chart::to_markdown;
using chart::to_text;

using testing::exact_buyer;
using testing::is_well_formed;
using testing::prices_on;

MachineSpeed grid_speed() {
  MachineSpeed speed{.decode = {}, .prefill_tokens_per_s = {800, 1000, 1200}, .basis = "a test"};
  for (const Index context : {1024, 65536}) {
    for (const Index concurrency : {1, 8}) {
      const double rate = 20.0 * static_cast<double>(concurrency) / (context > 5000 ? 2 : 1);
      speed.decode.push_back({context, concurrency, {0.8 * rate, rate, 1.2 * rate}});
    }
  }
  return speed;
}

std::string text_of(const Section& section) {
  return to_text({"t", {}, {section}});
}

CostModel model_on(const std::string& date) {
  BuyerInputs inputs = exact_buyer();
  inputs.capex_usd = Quantity::stated(Percentiles{30'000, 36'000, 50'000});
  return {inputs, grid_speed(), prices_on(date)};
}

TEST(ReportSections, APageOfAllOfThemIsWellFormedAndEveryIdIsUnique) {
  const config::ModelConfig config = config::testing::builtin("v4-flash");
  const CostModel model = model_on("2026-10-27");
  TrainingQuestion question;
  question.config = &config;
  question.model = "v4-flash";
  const std::string html =
      to_html({"Plan",
               {},
               {memory_section({{"experts", 147e9}, {"head", 1e9}}), speed_section(grid_speed()),
                cost_section(model, study_cost(model)), training_section(question)}});
  EXPECT_TRUE(is_well_formed(html.substr(html.find("<html"))));
  std::set<std::string> ids;
  for (std::size_t at = html.find(" id=\""); at != std::string::npos;
       at = html.find(" id=\"", at + 1)) {
    EXPECT_TRUE(ids.insert(html.substr(at + 5, html.find('"', at + 5) - at - 5)).second);
  }
  EXPECT_EQ(ids.size(), 2U * 6);  // six charts
}

TEST(ReportSections, MemoryAddsUp) {
  const std::string text = text_of(memory_section({{"experts", 147e9}, {"head", 1e9}}));
  EXPECT_NE(text.find("148,000,000,000  148.00"), std::string::npos) << text;
}

TEST(ReportSections, CostHasEveryPriceWithItsSourceAndDate) {
  const CostModel model = model_on("2026-10-27");
  const std::string text = text_of(cost_section(model, study_cost(model)));
  EXPECT_EQ(testing::count_of(text, "from 2026-09-10, read on 2026-10-27"), 6U);
  EXPECT_EQ(text.find("STALE"), std::string::npos);
}

TEST(ReportSections, AStaleTableIsSaidInTextMarkdownAndHtml) {
  const CostModel model = model_on("2027-02-01");
  const Report report{"t", {}, {cost_section(model, study_cost(model))}};
  for (const std::string& out : {to_text(report), to_markdown(report), to_html(report)}) {
    EXPECT_NE(out.find("STALE PRICES"), std::string::npos);
  }
}

TEST(ReportSections, TrainingShowsThePublishedPartsAndScenariosAsSuch) {
  TrainingQuestion question;
  question.model = "v4-pro";
  const std::string text = text_of(training_section(question));
  EXPECT_NE(text.find("2,788,000  5,576,000"), std::string::npos) << text;
  EXPECT_NE(text.find("Scenarios, not facts"), std::string::npos);
  EXPECT_NE(text.find("7.87"), std::string::npos);
  EXPECT_NE(text.find("not included: salaries"), std::string::npos);
  question.model = "another";
  EXPECT_EQ(text_of(training_section(question)).find("Scenarios"), std::string::npos);
}

TEST(ReportSections, BothCountsOfOperationsAreExplained) {
  const config::ModelConfig config = config::testing::builtin("v4-flash");
  TrainingQuestion question;
  question.config = &config;
  const std::string text = text_of(training_section(question));
  EXPECT_NE(text.find("6ND counts 13.27B active parameters"), std::string::npos) << text;
  EXPECT_NE(text.find("sparse attention (CSA)"), std::string::npos);
}

TEST(ReportSections, IntervalsAreWrittenWithTheirMedianFirst) {
  EXPECT_EQ(interval_text({1, 2, 3}), "2 (1 to 3)");
  EXPECT_EQ(interval_text(Percentiles::exactly(0.6)), "0.6");
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(interval_text({1.5, infinity, infinity}), "never (1.5 to never)");
}

}  // namespace
}  // namespace fathom::plan

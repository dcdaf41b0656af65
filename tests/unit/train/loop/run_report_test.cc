#include "fathom/train/loop/run_report.h"

#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"
#include "tests/unit/base/chart/markup.h"

namespace fathom::train {
namespace {

using fathom::test::read_file;
using fathom::test::TempDir;
using fathom::test::write_file;
using testing::count_of;
using testing::is_well_formed;

MetricsHistory long_history() {
  MetricsHistory history;
  for (Index step = 1; step <= 5000; ++step) {
    history.steps.push_back({.step = step,
                             .tokens = 64 * step,
                             .seconds = 0.1 * static_cast<double>(step),
                             .loss = 5,
                             .mtp_loss = 6,
                             .gradient_norm = 1,
                             .learning_rate = 1e-3,
                             .tokens_per_s = 640,
                             .expert_shares = {{0.5, 0.25, 0.25, 0}}});
  }
  history.validations = {{2500, 5.5, 0.1}, {5000, 5.25, 0.1}};
  history.events = {"went back from step <3> to step 1"};
  return history;
}

TEST(RunReport, IsAPageWithEveryPlotThatNeedsNothingFromOutside) {
  const std::string html = chart::to_html(make_run_report(long_history(), "a <run>"));
  EXPECT_TRUE(is_well_formed(html));
  EXPECT_EQ(count_of(html, "<svg"), 5U);
  for (const char* part :
       {"Training of a &lt;run&gt;", "Gradient norm", "Learning rate", "Load of experts",
        "Throughput", "validation loss at step 5000: 5.2500", "step &lt;3&gt;"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(count_of(html, "<script"), 0U);
  EXPECT_EQ(count_of(html, "src="), 0U);
  EXPECT_LT(html.size(), 200'000U) << "points are thinned";
}

TEST(RunReport, LoadsAreInEvenShares) {
  const chart::Report report = make_run_report(long_history(), "x");
  for (const chart::Section& section : report.sections) {
    if (section.heading == "Experts") {
      ASSERT_EQ(section.tables[0].rows.size(), 1U);
      EXPECT_EQ(section.tables[0].rows[0], (std::vector<std::string>{"0", "2.00", "0.00"}));
      return;
    }
  }
  FAIL() << "no section of experts";
}

TEST(RunReport, ARunWithoutAStepHasAPageToo) {
  const TempDir dir;
  write_file(dir / "metrics.jsonl", "");
  write_run_report(dir / "metrics.jsonl", dir / "report.html", "x");
  EXPECT_TRUE(is_well_formed(read_file(dir / "report.html")));
}

}  // namespace
}  // namespace fathom::train

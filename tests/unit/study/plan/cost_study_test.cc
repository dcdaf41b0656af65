#include "fathom/study/plan/cost_study.h"

#include <cmath>

#include <gtest/gtest.h>

#include "fathom/study/plan/distribution.h"

#include "tests/support/expect_error.h"
#include "tests/unit/study/plan/buyers.h"

namespace fathom::plan {
namespace {

using testing::constant_speed;
using testing::exact_buyer;
using testing::exact_model;
using testing::fails_with;
using testing::prices_on;

// Everything uncertain: prices of the machine, power, traffic, drift, speeds.
CostModel uncertain_model(const std::string& date = "2026-10-27") {
  BuyerInputs inputs = exact_buyer();
  inputs.utilisation = Quantity::stated(Percentiles{0.2, 0.4, 0.6});
  inputs.capex_usd = Quantity::stated(Percentiles{30'000, 36'000, 50'000});
  inputs.usd_per_kwh = Quantity::stated(Percentiles{0.1, 0.2, 0.35});
  inputs.api_price_drift_per_year = Quantity::stated(Percentiles{-0.3, 0, 0.3});
  MachineSpeed speed = constant_speed();
  speed.decode = {{0, 8, {300, 5'000, 7'000}}};
  speed.prefill_tokens_per_s = {10'000, 20'000, 30'000};
  return {inputs, speed, prices_on(date, "pro")};
}

double percentile_share(double value, const Percentiles& of) {
  return (value - of.p10) / (of.p90 - of.p10);
}

TEST(CostStudy, WithoutUncertaintyEveryIntervalIsThePoint) {
  const CostStudy study = study_cost(exact_model());
  const double own = study.median.own.total_usd();
  EXPECT_DOUBLE_EQ(study.intervals.own_usd_per_month.p10, own);
  EXPECT_DOUBLE_EQ(study.intervals.own_usd_per_month.p90, own);
  EXPECT_TRUE(study.tornado.empty());
}

TEST(CostStudy, IntervalOfASumIsTheClosedForm) {
  // Capital alone is uncertain, and the cost is a line in it.
  BuyerInputs inputs = exact_buyer();
  inputs.capex_usd = Quantity::stated(Percentiles{30'000, 36'000, 50'000});
  const CostStudy study = study_cost(exact_model(inputs), {.num_draws = 100'000, .seed = 3});
  const double rest = study.median.own.total_usd() - 1000;
  EXPECT_NEAR(study.intervals.own_usd_per_month.p10, rest + 30'000.0 / 36, 3);
  EXPECT_NEAR(study.intervals.own_usd_per_month.p50, rest + 1000, 3);
  EXPECT_NEAR(study.intervals.own_usd_per_month.p90, rest + 50'000.0 / 36, 6);
}

TEST(CostStudy, IntervalOfAProductOfLogNormalsIsTheClosedForm) {
  // Energy is watts times price; both log-normal, so is the product.
  BuyerInputs inputs = exact_buyer();
  inputs.operations_hours_per_month = inputs.other_usd_per_month = Quantity::stated(0);
  inputs.capex_usd = Quantity::stated(0);
  inputs.idle_watts = Quantity::stated(0);
  inputs.load_watts = Quantity::stated(Percentiles{500, 1000, 2000});
  inputs.usd_per_kwh = Quantity::stated(Percentiles{0.1, 0.2, 0.4});
  const CostStudy study = study_cost(exact_model(inputs), {.num_draws = 200'000, .seed = 5});
  const double factor = std::exp(std::log(2.0) * std::sqrt(2.0));
  const Percentiles& found = study.intervals.own_usd_per_month;
  EXPECT_NEAR(found.p50 / study.median.own.total_usd(), 1, 0.01);
  EXPECT_NEAR(found.p90 / found.p50, factor, 0.03);
  EXPECT_NEAR(found.p50 / found.p10, factor, 0.03);
}

TEST(CostStudy, DrawsFollowTheSeedAndSettle) {
  const CostModel model = uncertain_model();
  const Percentiles first =
      study_cost(model, {.num_draws = 20'000, .seed = 1}).intervals.saving_usd_per_month;
  EXPECT_EQ(study_cost(model, {.num_draws = 20'000, .seed = 1}).intervals.saving_usd_per_month,
            first);
  const Percentiles other =
      study_cost(model, {.num_draws = 20'000, .seed = 2}).intervals.saving_usd_per_month;
  EXPECT_NE(other, first);
  EXPECT_NEAR(percentile_share(other.p10, first), 0, 0.05);
  EXPECT_NEAR(percentile_share(other.p90, first), 1, 0.05);
}

TEST(CostStudy, TornadoIsSortedAndHoldsEveryUncertainQuantity) {
  const std::vector<TornadoBar> bars = study_cost(uncertain_model()).tornado;
  ASSERT_EQ(bars.size(), 6U);
  for (std::size_t idx = 1; idx < bars.size(); ++idx) {
    EXPECT_GE(bars[idx - 1].swing_usd(), bars[idx].swing_usd());
  }
}

TEST(CostStudy, TornadoOfCapitalIsItsMonthlyDifference) {
  BuyerInputs inputs = exact_buyer();
  inputs.capex_usd = Quantity::stated(Percentiles{18'000, 36'000, 72'000});
  const std::vector<TornadoBar> bars = study_cost(exact_model(inputs)).tornado;
  ASSERT_EQ(bars.size(), 1U);
  EXPECT_EQ(bars[0].name, "capex_usd");
  EXPECT_NEAR(bars[0].saving_usd_at_p10 - bars[0].saving_usd_at_p90, 54'000.0 / 36, 1e-9);
}

TEST(CostStudy, OwnTokensGetCheaperWithUtilisationAndTheApisDoNot) {
  const std::vector<BreakEvenPoint> curve = study_cost(uncertain_model()).break_even;
  ASSERT_EQ(curve.size(), 20U);
  EXPECT_DOUBLE_EQ(curve.back().utilisation, 1);
  for (std::size_t idx = 1; idx < curve.size(); ++idx) {
    EXPECT_LT(curve[idx].own_usd_per_million_tokens.p50,
              curve[idx - 1].own_usd_per_million_tokens.p50);
    EXPECT_EQ(curve[idx].api_usd_per_million_tokens, curve[0].api_usd_per_million_tokens);
  }
}

TEST(CostStudy, WhereHalfTheDrawsHaveNoCrossoverItIsSaidAndInfinite) {
  const CostStudy study = study_cost(exact_model());
  EXPECT_EQ(study.intervals.share_without_crossover, 1);
  EXPECT_TRUE(std::isinf(study.intervals.crossover_utilisation.p10));
}

bool has_note(const CostStudy& study, const std::string& part) {
  return std::any_of(study.notes.begin(), study.notes.end(),
                     [&](const std::string& note) { return note.find(part) != std::string::npos; });
}

TEST(CostStudy, AStaleTableIsSaidAndAFreshOneIsNot) {
  EXPECT_FALSE(has_note(study_cost(uncertain_model("2026-11-26")), "STALE"));
  EXPECT_TRUE(has_note(study_cost(uncertain_model("2027-01-26")),
                       "STALE PRICES: the table was read 91 days"));
}

TEST(CostStudy, EveryQuantityHasItsBasisAndEveryPriceItsSourceAndDate) {
  const CostStudy study = study_cost(uncertain_model());
  Index num_prices = 0;
  for (const Basis& basis : study.basis) {
    EXPECT_FALSE(basis.says.empty()) << basis.name;
    if (basis.name.starts_with("API ")) {
      ++num_prices;
      EXPECT_NE(basis.says.find("DeepSeek API pricing"), std::string::npos);
      EXPECT_NE(basis.says.find("from 2026-09-10, read on 2026-10-27"), std::string::npos);
    }
  }
  EXPECT_EQ(num_prices, 6);
  EXPECT_EQ(study.basis.size(), buyer_fields().size() - 1 + 2 + 6);  // without tokens_per_month
}

TEST(CostStudy, TooFewDrawsAreRefused) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "num_draws: found 10, expected 100",
                         [] { study_cost(exact_model(), {.num_draws = 10, .seed = 1}); }));
}

}  // namespace
}  // namespace fathom::plan

#include "fathom/study/plan/cost.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/study/plan/buyers.h"

namespace fathom::plan {
namespace {

using testing::constant_speed;
using testing::exact_buyer;
using testing::exact_model;
using testing::fails_with;
using testing::prices_on;

CostPoint point_of(const CostModel& model) {
  return model.evaluate(model.median());
}

// The crossover that docs/planning-costs.md works out by hand: a pair of cards at $20,000, 1.3 kW
// always, 700 tokens/s of output, no inputs, no operations.
CostModel worked_example(const ApiPrices& prices) {
  BuyerInputs inputs = exact_buyer();
  inputs.mix = {.input = 0, .cached_input = 0, .output = 1};
  inputs.utilisation = Quantity::stated(1);
  inputs.capex_usd = Quantity::stated(20'000);
  inputs.idle_watts = inputs.load_watts = Quantity::stated(1300);
  inputs.usd_per_kwh = Quantity::stated(0.15);
  inputs.pue = Quantity::stated(1);
  inputs.operations_hours_per_month = Quantity::stated(0);
  inputs.other_usd_per_month = Quantity::stated(0);
  MachineSpeed speed = constant_speed();
  speed.decode = {{0, 8, Percentiles::exactly(700)}};
  return {inputs, speed, prices};
}

ApiPrices at_one_price(double output_usd) {
  ApiPrices prices = prices_on("2026-10-27");
  prices.usd_per_million_tokens[static_cast<std::size_t>(TokenClass::Output)].fill(output_usd);
  return prices;
}

TEST(Cost, WorkedCrossoverHasItsDigits) {
  const ApiPrices today = prices_on("2026-10-27");
  const double off_peak = today.usd(TokenClass::Output, 0);
  const double peak = today.usd(TokenClass::Output, 1);
  const CostPoint point = point_of(worked_example(at_one_price(off_peak)));
  EXPECT_NEAR(point.capacity_tokens_per_month, 1.84e9, 0.005e9);
  EXPECT_NEAR(point.api_usd_per_month, 1104, 0.5);
  EXPECT_NEAR(point.own.capital_usd, 556, 0.5);
  EXPECT_NEAR(point.own.energy_usd, 142, 0.5);
  EXPECT_NEAR(point.own.total_usd(), 698, 0.5);
  EXPECT_NEAR(point.crossover_utilisation, 0.63, 0.005);
  const CostPoint at_peak = point_of(worked_example(at_one_price(peak)));
  EXPECT_NEAR(at_peak.crossover_utilisation, 0.32, 0.005);
}

TEST(Cost, ClassesTogetherCostWhatTheMonthCosts) {
  const CostPoint point = point_of(exact_model());
  double usd = 0;
  for (const TokenClass token_class : kTokenClasses) {
    usd += exact_buyer().mix.of(token_class) * point.tokens_per_month / 1e6 *
           at(point.own_usd_per_million_tokens, token_class);
  }
  EXPECT_NEAR(usd / point.own.total_usd(), 1, 1e-12);
  EXPECT_NEAR(point.own_usd_per_million_mixed_tokens * point.tokens_per_month / 1e6,
              point.own.total_usd(), 1e-9);
}

TEST(Cost, ClassesCostInProportionToTheirSeconds) {
  const ByClass usd = point_of(exact_model()).own_usd_per_million_tokens;
  EXPECT_NEAR(at(usd, TokenClass::Output) / at(usd, TokenClass::Input), 2000.0 / 500, 1e-12);
  EXPECT_NEAR(at(usd, TokenClass::CachedInput) / at(usd, TokenClass::Input), 0.1, 1e-12);
}

TEST(Cost, PartsOfTheMonthAreThoseOfTheInputs) {
  const MonthlyCost own = point_of(exact_model()).own;
  EXPECT_NEAR(own.capital_usd, 1000, 1e-9);  // 36,000 over 36 months without interest
  EXPECT_NEAR(own.energy_usd, (0.2 + 0.8 * 0.5) * 730 * 1.5 * 0.2, 1e-9);
  EXPECT_NEAR(own.operations_usd, 200, 1e-9);
  EXPECT_NEAR(own.other_usd, 30, 1e-9);
}

TEST(Cost, AnnuityPaysTheCapitalBackWithInterest) {
  const double interest = 0.06 / 12;
  const double payment = annuity_usd_per_month(10'000, 2'000, 48, 0.06);
  double debt = 10'000;
  for (int month = 0; month < 48; ++month) {
    debt = debt * (1 + interest) - payment;
  }
  EXPECT_NEAR(debt, 2'000, 1e-6);
  EXPECT_NEAR(annuity_usd_per_month(10'000, 2'000, 48, 1e-9),
              annuity_usd_per_month(10'000, 2'000, 48, 0), 1e-3);
}

TEST(Cost, AtTheCrossoverBothCostTheSame) {
  const CostModel model = exact_model();
  const double crossover = point_of(model).crossover_utilisation;
  // At this speed the machine never pays: dearer tokens make it pay.
  EXPECT_TRUE(std::isinf(crossover));
  const CostModel dear{exact_buyer(), constant_speed(), at_one_price(40)};
  const double utilisation = point_of(dear).crossover_utilisation;
  ASSERT_TRUE(utilisation > 0 && utilisation < 1);
  const CostPoint there = dear.evaluate_at(dear.median(), utilisation);
  EXPECT_NEAR(there.saving_usd_per_month(), 0, 1e-9);
  EXPECT_NEAR(there.tokens_per_month, there.crossover_tokens_per_month, 1e-3);
  EXPECT_GT(dear.evaluate_at(dear.median(), utilisation * 1.01).saving_usd_per_month(), 0);
  EXPECT_LT(dear.evaluate_at(dear.median(), utilisation * 0.99).saving_usd_per_month(), 0);
}

TEST(Cost, EveryExpenseRaisesTheCostAndTheCrossover) {
  const CostModel dear{exact_buyer(), constant_speed(), at_one_price(40)};
  const CostPoint before = point_of(dear);
  for (const auto quantity :
       {&BuyerInputs::capex_usd, &BuyerInputs::interest_per_year, &BuyerInputs::usd_per_kwh,
        &BuyerInputs::pue, &BuyerInputs::idle_watts, &BuyerInputs::operations_hours_per_month,
        &BuyerInputs::other_usd_per_month, &BuyerInputs::quality_penalty_share}) {
    BuyerInputs inputs = exact_buyer();
    (inputs.*quantity).value = Percentiles::exactly((inputs.*quantity).value.p50 * 1.1 + 0.01);
    const CostPoint after = point_of({inputs, constant_speed(), at_one_price(40)});
    EXPECT_LT(after.saving_usd_per_month(), before.saving_usd_per_month());
    EXPECT_GT(after.crossover_utilisation, before.crossover_utilisation);
  }
}

TEST(Cost, AFasterMachineCostsLessPerToken) {
  MachineSpeed faster = constant_speed();
  for (DecodePoint& point : faster.decode) {
    point.tokens_per_s = Percentiles::exactly(point.tokens_per_s.p50 * 2);
  }
  faster.prefill_tokens_per_s = Percentiles::exactly(4000);
  const CostPoint before = point_of(exact_model());
  const CostPoint after = point_of({exact_buyer(), faster, prices_on("2026-10-27")});
  for (const TokenClass token_class : kTokenClasses) {
    EXPECT_NEAR(at(after.own_usd_per_million_tokens, token_class) * 2,
                at(before.own_usd_per_million_tokens, token_class), 1e-12);
  }
}

TEST(Cost, TheApisPriceIsThatOfTheHoursOfTheTraffic) {
  BuyerInputs inputs = exact_buyer();
  const double flat =
      at(point_of(exact_model(inputs)).api_usd_per_million_tokens, TokenClass::Output);
  EXPECT_NEAR(flat, 0.6 * (1 + 5.0 * 7 / 168), 1e-12);  // 35 of 168 hours at twice the price
  std::array<double, 24> hours = {};
  hours[2] = 1;  // all of it in the peak, weekends apart
  inputs.week = week_of_hours(hours, 0);
  EXPECT_NEAR(at(point_of(exact_model(inputs)).api_usd_per_million_tokens, TokenClass::Output), 1.2,
              1e-12);
}

TEST(Cost, DriftIsAveragedOverTheLife) {
  BuyerInputs inputs = exact_buyer();
  inputs.life_months = Quantity::stated(24);
  inputs.api_price_drift_per_year = Quantity::stated(-0.5);
  const CostModel model{inputs, constant_speed(), at_one_price(10)};
  // The mean of 2^-t over two years: (1 - 1/4) / (2 ln 2).
  EXPECT_NEAR(at(point_of(model).api_usd_per_million_tokens, TokenClass::Output),
              10 * 0.75 / (2 * std::log(2.0)), 1e-9);
}

TEST(Cost, MachinesAreCountedForTheBusiestHour) {
  BuyerInputs inputs = exact_buyer();
  inputs.utilisation = {};
  inputs.max_busy_share = 0.8;
  const double capacity = point_of(exact_model()).capacity_tokens_per_month;
  inputs.tokens_per_month = Quantity::stated(capacity * 0.79);
  EXPECT_EQ(exact_model(inputs).num_machines(), 1);
  inputs.tokens_per_month = Quantity::stated(capacity * 0.81);
  EXPECT_EQ(exact_model(inputs).num_machines(), 2);
  inputs.week = named_week("office-europe");
  EXPECT_GT(exact_model(inputs).num_machines(), 2);
  inputs.num_machines = 1;
  EXPECT_EQ(exact_model(inputs).num_machines(), 1);
  EXPECT_GT(point_of(exact_model(inputs)).unserved_share, 0.1);
  inputs.tokens_per_month = Quantity::stated(capacity * 1.5);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "num_machines: found 1, expected at least 2",
                         [&] { exact_model(inputs); }));
}

TEST(Cost, SpareMachinesCostTheirPriceAndTheirIdlePower) {
  BuyerInputs inputs = exact_buyer();
  inputs.num_spare_machines = 2;
  const MonthlyCost before = point_of(exact_model()).own;
  const MonthlyCost after = point_of(exact_model(inputs)).own;
  EXPECT_NEAR(after.capital_usd - before.capital_usd, 2 * 1000, 1e-9);
  EXPECT_NEAR(after.energy_usd - before.energy_usd, 2 * 0.2 * 730 * 1.5 * 0.2, 1e-9);
}

TEST(Cost, TheFastestConcurrencyThatKeepsTheUsersLimitIsTaken) {
  BuyerInputs inputs = exact_buyer();
  EXPECT_EQ(exact_model(inputs).concurrency(), 8);
  inputs.min_tokens_per_s_per_user = 80;  // 8 at a time get 62.5 each
  EXPECT_EQ(exact_model(inputs).concurrency(), 1);
  inputs.min_tokens_per_s_per_user = 101;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "min_tokens_per_s_per_user: found 101, expected at most 100.00",
                         [&] { exact_model(inputs); }));
  inputs.min_tokens_per_s_per_user = 0;
  inputs.concurrency = 3;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "concurrency: found 3, expected one that",
                         [&] { exact_model(inputs); }));
}

TEST(Cost, SecondsPerTokenAreAveragedOverTheContexts) {
  BuyerInputs inputs = exact_buyer();
  MachineSpeed speed = constant_speed();
  speed.decode = {{1000, 1, Percentiles::exactly(100)}, {3000, 1, Percentiles::exactly(50)}};
  inputs.contexts = {{1000, 0.5}, {3000, 0.5}};
  const CostModel halves{inputs, speed, prices_on("2026-10-27")};
  EXPECT_NEAR(halves.decode_tokens_per_s().p50, 1 / (0.5 / 100 + 0.5 / 50), 1e-9);
  inputs.contexts = {{2000, 1}};  // between: in the middle of the seconds
  const CostModel between{inputs, speed, prices_on("2026-10-27")};
  EXPECT_NEAR(between.decode_tokens_per_s().p50, 1 / 0.015, 1e-9);
  inputs.contexts = {{5000, 1}};  // beyond: the line goes on
  const CostModel beyond{inputs, speed, prices_on("2026-10-27")};
  EXPECT_NEAR(beyond.decode_tokens_per_s().p50, 1 / 0.03, 1e-9);
}

TEST(Cost, SpeedsThatAreNoneAreRefused) {
  const auto refuses = [](auto change, const std::string& message) {
    MachineSpeed speed = constant_speed();
    change(speed);
    return fails_with(ErrorCode::InvalidArgument, message,
                      [&] { CostModel(exact_buyer(), speed, prices_on("2026-10-27")); });
  };
  EXPECT_TRUE(refuses([](auto& speed) { speed.decode.clear(); }, "decode_tokens_per_s: found 0"));
  EXPECT_TRUE(refuses([](auto& speed) { speed.decode[0].tokens_per_s.p10 = 0; },
                      "decode_tokens_per_s: found [0"));
  EXPECT_TRUE(refuses([](auto& speed) { speed.decode[0].context_tokens = 9; },
                      "expected each of 2 contexts with each of 2"));
  EXPECT_TRUE(refuses(
      [](auto& speed) {
        speed.prefill_tokens_per_s.p90 = std::numeric_limits<double>::quiet_NaN();
      },
      "prefill_tokens_per_s: found ["));
}

}  // namespace
}  // namespace fathom::plan

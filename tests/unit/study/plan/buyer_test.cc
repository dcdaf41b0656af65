#include "fathom/study/plan/buyer.h"

#include <limits>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/unit/study/plan/buyers.h"

namespace fathom::plan {
namespace {

using testing::exact_buyer;
using testing::fails_with;

::testing::AssertionResult refuses(const std::function<void(BuyerInputs&)>& change,
                                   const std::string& message) {
  BuyerInputs inputs = exact_buyer();
  change(inputs);
  return fails_with(ErrorCode::InvalidArgument, message, [&] { check(inputs); });
}

void set(Quantity& quantity, double value) {
  quantity = Quantity::stated(value);
}

TEST(Buyer, ACompleteBuyerPasses) {
  check(exact_buyer());
}

TEST(Buyer, ImpossibleNumbersAreRefusedByFieldAndUnit) {
  EXPECT_TRUE(refuses([](auto& in) { set(in.load_watts, 0); }, "load_watts: found 0, expected 1"));
  EXPECT_TRUE(refuses([](auto& in) { set(in.usd_per_kwh, -0.1); }, "usd_per_kwh: found -0.1"));
  EXPECT_TRUE(refuses([](auto& in) { set(in.life_months, 0); }, "life_months: found 0"));
  EXPECT_TRUE(refuses([](auto& in) { set(in.capex_usd, -1); }, "capex_usd: found -1"));
  EXPECT_TRUE(refuses([](auto& in) { set(in.pue, 0.9); }, "pue: found 0.9, expected 1 to 5"));
  EXPECT_TRUE(refuses([](auto& in) { set(in.utilisation, 1.2); }, "utilisation: found 1.2"));
  EXPECT_TRUE(refuses([](auto& in) { set(in.residual_usd, 40'000); },
                      "residual_usd: found 40000, expected at most capex_usd, 36000 US dollars"));
  EXPECT_TRUE(refuses([](auto& in) { set(in.idle_watts, 1001); },
                      "idle_watts: found 1001, expected at most load_watts, 1000 W"));
  EXPECT_TRUE(refuses([](auto& in) { set(in.capex_usd, std::numeric_limits<double>::quiet_NaN()); },
                      "capex_usd: found nan"));
  EXPECT_TRUE(refuses(
      [](auto& in) {
        in.capex_usd.value = {3, 2, 4};
      },
      "capex_usd: found [3, 2, 4], expected [p10, p50, p90] in ascending order"));
}

TEST(Buyer, MissingAndContradictingFieldsAreRefused) {
  EXPECT_TRUE(refuses([](auto& in) { in.capex_usd = {}; },
                      "the buyer's inputs: missing are capex_usd (price of a machine)"));
  EXPECT_TRUE(refuses([](auto& in) { in.mix = {}; },
                      "missing are mix (shares of all tokens: input, output, cached input)"));
  EXPECT_TRUE(refuses(
      [](auto& in) {
        in.utilisation = {};
        in.idle_watts = {};
        in.usd_per_kwh = {};
      },
      "missing are tokens_per_month (tokens of all classes together) or utilisation (share of what "
      "the machines can compute), idle_watts (of a machine that waits), usd_per_kwh (price of "
      "electricity)"));
  EXPECT_TRUE(refuses([](auto& in) { set(in.tokens_per_month, 1e9); },
                      "tokens_per_month, utilisation: found both"));
}

TEST(Buyer, SharesThatDoNotSumToOneAreRefused) {
  EXPECT_TRUE(refuses([](auto& in) { in.mix.output = 0.5; },
                      "mix: found shares that sum to 1.25, expected shares that sum to 1"));
  EXPECT_TRUE(refuses([](auto& in) { in.mix.input = -0.25; }, "mix.input: found -0.25"));
  EXPECT_TRUE(refuses([](auto& in) { in.contexts = {{4096, 0.5}}; }, "contexts: found shares"));
  EXPECT_TRUE(refuses([](auto& in) { in.contexts = {{0, 1}}; }, "contexts: found [0, 1]"));
  EXPECT_TRUE(refuses([](auto& in) { in.week[5] = 0.5; }, "traffic: found shares"));
}

TEST(Buyer, ServiceLimitsAreRefusedByName) {
  EXPECT_TRUE(refuses([](auto& in) { in.max_busy_share = 0; }, "max_busy_share: found 0"));
  EXPECT_TRUE(refuses([](auto& in) { in.min_tokens_per_s_per_user = -1; },
                      "min_tokens_per_s_per_user: found -1"));
  EXPECT_TRUE(refuses([](auto& in) { in.max_seconds_to_first_token = -1; },
                      "max_seconds_to_first_token: found -1"));
  EXPECT_TRUE(refuses([](auto& in) { in.num_machines = -1; }, "num_machines: found -1"));
}

TEST(Buyer, WeeksSumToOneAndOfficesWorkOnWeekdays) {
  for (const char* name : {"flat", "office-beijing", "office-europe", "office-us"}) {
    const WeekShape week = named_week(name);
    EXPECT_NEAR(std::accumulate(week.begin(), week.end(), 0.0), 1, 1e-12);
  }
  const WeekShape beijing = named_week("office-beijing");
  EXPECT_NEAR(beijing[1] / beijing[0], 1 / 0.15, 1e-9);      // Monday 9 and 8 there
  EXPECT_NEAR(beijing[5 * 24 + 1] / beijing[1], 0.3, 1e-9);  // Saturday and Monday
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument,
                         "traffic: found \"night\", expected flat, office",
                         [] { named_week("night"); }));
}

TEST(Buyer, HoursAreTwentyFourAndNotNegative) {
  std::vector<double> hours(24, 1);
  EXPECT_NEAR(week_of_hours(hours, 0)[0], 1.0 / 120, 1e-12);
  EXPECT_EQ(week_of_hours(hours, 0)[167], 0);
  hours[3] = -1;
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "traffic: found -1 in hour 3",
                         [&] { week_of_hours(hours, 1); }));
  hours.resize(23);
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "traffic: found 23 hours, expected 24",
                         [&] { week_of_hours(hours, 1); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "traffic: found hours that sum to 0",
                         [] { week_of_hours(std::vector<double>(24, 0), 1); }));
}

constexpr const char* kFile = R"(
tokens_per_month = 2e9
mix = {input = 0.2, cached_input = 0.5, output = 0.3}
contexts = [[4096, 0.7], [65536, 0.3]]
traffic = "office-europe"
capex_usd = [18000, 20000, 24000]
idle_watts = 150
load_watts = 1300
usd_per_kwh = 0.15
num_spare_machines = 1
api_model = "pro"
)";

TEST(Buyer, AFileSetsWhatItNamesAndLeavesTheRest) {
  const BuyerInputs inputs = read_buyer(kFile, "buyer.toml", {});
  check(inputs);
  EXPECT_EQ(inputs.tokens_per_month.value, Percentiles::exactly(2e9));
  EXPECT_EQ(inputs.mix.cached_input, 0.5);
  EXPECT_EQ(inputs.contexts.at(1).context_tokens, 65536);
  EXPECT_EQ(inputs.capex_usd.value, (Percentiles{18'000, 20'000, 24'000}));
  EXPECT_EQ(inputs.capex_usd.origin, Quantity::Origin::Stated);
  EXPECT_EQ(inputs.pue.origin, Quantity::Origin::Assumed);
  EXPECT_EQ(inputs.num_spare_machines, 1);
  EXPECT_EQ(inputs.week, named_week("office-europe"));
  EXPECT_EQ(inputs.api_model, "pro");
}

TEST(Buyer, AFileWithFaultsIsRefusedByLineAndKey) {
  const auto refuses_file = [](const std::string& text, const std::string& message) {
    return fails_with(ErrorCode::InvalidArgument, message,
                      [&] { read_buyer(text, "buyer.toml", {}); });
  };
  EXPECT_TRUE(refuses_file("capex_used = 1", "buyer.toml:1: unknown key \"capex_used\""));
  EXPECT_TRUE(refuses_file("\ncapex_usd = [1, 2]", "buyer.toml:2: capex_usd: found 2 numbers"));
  EXPECT_TRUE(refuses_file("capex_usd = \"1\"", "buyer.toml:1: capex_usd: "));
  EXPECT_TRUE(refuses_file("num_machines = 1.5", "num_machines: found 1.5, expected a whole"));
  EXPECT_TRUE(refuses_file("weekend_share = 0.5", "weekend_share: is there without `traffic`"));
  EXPECT_TRUE(refuses_file("traffic = \"flat\"\nweekend_share = 0.5", "beside a named `traffic`"));
  EXPECT_TRUE(refuses_file("contexts = [[4096]]", "contexts: expected pairs"));
  EXPECT_TRUE(refuses_file("mix = {input = 1}", "cached_input: is missing"));
}

}  // namespace
}  // namespace fathom::plan

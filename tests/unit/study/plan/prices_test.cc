#include "fathom/study/plan/prices.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace fathom::plan {
namespace {

using testing::fails_with;

constexpr Index kMonday = 0;
constexpr Index kFriday = 4;
constexpr Index kSaturday = 5;

Index hour_of(Index day, Index hour) {
  return day * 24 + hour;
}

ApiPrices prices_on(const std::string& date,
                    const std::string& model = "flash",
                    const std::string& provider = "deepseek") {
  return PriceTable::builtin().at(provider, model, parse_date(date, "date"));
}

void expect_prices(
    const ApiPrices& prices, Index hour, double cached, double input, double output) {
  EXPECT_EQ(prices.usd(TokenClass::CachedInput, hour), cached);
  EXPECT_EQ(prices.usd(TokenClass::Input, hour), input);
  EXPECT_EQ(prices.usd(TokenClass::Output, hour), output);
}

TEST(Prices, FlashOfEveryPeriodIsThatOfItsSource) {
  expect_prices(prices_on("2026-04-24"), 0, 0.028, 0.14, 0.28);
  expect_prices(prices_on("2026-04-26"), 0, 0.028, 0.14, 0.28);  // until 12:15 of that day
  expect_prices(prices_on("2026-04-27"), 0, 0.0028, 0.14, 0.28);
  expect_prices(prices_on("2026-08-16"), 0, 0.0028, 0.14, 0.28);  // until 16:00
  expect_prices(prices_on("2026-08-17"), 0, 0.007, 0.22, 0.66);
  expect_prices(prices_on("2026-09-10"), 0, 0.003, 0.15, 0.60);
}

TEST(Prices, ProOfEveryPeriodIsThatOfItsSource) {
  expect_prices(prices_on("2026-04-25", "pro"), 0, 0.145, 1.74, 3.48);
  expect_prices(prices_on("2026-05-01", "pro"), 0, 0.003625, 0.435, 0.87);
  expect_prices(prices_on("2026-05-01", "pro", "deepseek-regular"), 0, 0.0145, 1.74, 3.48);
  expect_prices(prices_on("2026-08-17", "pro"), 0, 0.022, 0.66, 1.98);
  expect_prices(prices_on("2026-10-01", "pro"), 0, 0.022, 0.66, 1.98);
}

TEST(Prices, PeakIsTwiceOffPeakInItsHoursOfWeekdays) {
  const ApiPrices prices = prices_on("2026-10-27");
  for (Index hour = 0; hour < kHoursPerWeek; ++hour) {
    const Index of_day = hour % 24;
    const bool is_peak = hour < hour_of(kSaturday, 0) &&
                         ((of_day >= 1 && of_day < 4) || (of_day >= 6 && of_day < 10));
    expect_prices(prices, hour, is_peak ? 0.006 : 0.003, is_peak ? 0.30 : 0.15,
                  is_peak ? 1.20 : 0.60);
  }
  EXPECT_EQ(prices.usd(TokenClass::Output, hour_of(kMonday, 1)), 1.20);
  EXPECT_EQ(prices.usd(TokenClass::Output, hour_of(kFriday, 4)), 0.60);
}

TEST(Prices, EveryPeakPriceOfTheTableIsTwiceItsOffPeakPrice) {
  const PriceTable table = PriceTable::builtin();
  Index num_peak = 0;
  for (const PriceLine& peak : table.lines()) {
    for (const PriceLine& other : table.lines()) {
      if (peak.tariff == "peak" && other.tariff == "off_peak" && other.model == peak.model &&
          other.from == peak.from && other.token_class == peak.token_class) {
        EXPECT_DOUBLE_EQ(peak.usd_per_million_tokens, 2 * other.usd_per_million_tokens);
        ++num_peak;
      }
    }
  }
  EXPECT_EQ(num_peak, 12);
}

TEST(Prices, EveryLineHasASourceWithADate) {
  const PriceTable table = PriceTable::builtin();
  for (const PriceLine& line : table.lines()) {
    EXPECT_FALSE(line.source.title.empty());
    EXPECT_EQ(date_text(line.source.read_on), "2026-10-27");
    EXPECT_LE(line.from, line.source.read_on);
  }
  EXPECT_EQ(prices_on("2026-10-27").lines.size(), 6U);
}

TEST(Prices, ATableIsStaleAfterNinetyDays) {
  EXPECT_EQ(prices_on("2026-11-26").age_days, 30);
  EXPECT_FALSE(prices_on("2027-01-25").is_stale());  // 90 days
  EXPECT_TRUE(prices_on("2027-01-26").is_stale());
  EXPECT_EQ(prices_on("2026-08-20").age_days, 0);  // before it was read
}

TEST(Prices, WithoutAPriceOfItsOwnCachedInputCostsAsInput) {
  const ApiPrices prices = prices_on("2026-11-01", "flash", "vercel");
  expect_prices(prices, 0, 0.06, 0.06, 0.18);
  EXPECT_NE(prices.notes.front().find("no price of cached input"), std::string::npos);
}

TEST(Prices, UnknownNamesAndEarlyDatesListWhatThereIs) {
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "deepseek, deepseek-regular, fireworks",
                         [] { prices_on("2026-10-27", "flash", "nobody"); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "has no model \"huge\", expected one of flash",
                         [] { prices_on("2026-10-27", "huge"); }));
  EXPECT_TRUE(fails_with(ErrorCode::InvalidArgument, "the first is from 2026-04-24",
                         [] { prices_on("2026-04-23"); }));
}

constexpr const char* kGood = R"([[source]]
id = "s"
title = "Price page"
read_on = 2026-10-27
[[tariff]]
provider = "p"
name = "night"
days = ["sun"]
hours_utc = [[22, 24]]
[[price]]
provider = "p"
model = "m"
from = 2026-10-01
tariff = "off_peak"
input_usd_per_million_tokens = 1
output_usd_per_million_tokens = 2
source = "s"
[[price]]
provider = "p"
model = "m"
from = 2026-10-01
tariff = "night"
input_usd_per_million_tokens = 0.5
output_usd_per_million_tokens = 1.5
source = "s"
)";

// The good table with one piece of it replaced where it stands first.
std::string with(const std::string& piece, const std::string& other) {
  std::string text = kGood;
  text.replace(text.find(piece), piece.size(), other);
  return text;
}

::testing::AssertionResult refuses(const std::string& piece,
                                   const std::string& other,
                                   const std::string& message) {
  return fails_with(ErrorCode::InvalidArgument, message,
                    [&] { PriceTable::parse(with(piece, other), "prices.toml"); });
}

TEST(Prices, WindowsReachTheLastHourOfTheWeek) {
  const ApiPrices prices =
      PriceTable::parse(kGood, "prices.toml").at("p", "m", parse_date("2026-10-02", "date"));
  EXPECT_EQ(prices.usd(TokenClass::Output, 167), 1.5);
  EXPECT_EQ(prices.usd(TokenClass::Output, 165), 2);
}

TEST(Prices, ErrorsNameFileRowAndField) {
  EXPECT_TRUE(
      refuses("= 1\n", "= -1\n",
              "prices.toml:15: [[price]] 1: input_usd_per_million_tokens: found -1, expected "
              "US dollars per million tokens"));
  EXPECT_TRUE(refuses("[[22, 24]]", "[[22, 25]]", "prices.toml:9: [[tariff]] 1: hours_utc: "));
  EXPECT_TRUE(refuses("[[22, 24]]", "[[23, 23]]", "hours_utc: "));
  EXPECT_TRUE(refuses("[\"sun\"]", "[\"sol\"]", "days: found \"sol\""));
  EXPECT_TRUE(refuses("tariff = \"off_peak\"", "tariff = \"evening\"",
                      "[[price]] 1: tariff: found \"evening\""));
  EXPECT_TRUE(
      refuses("source = \"s\"", "source = \"t\"", "source: found \"t\", but no [[source]]"));
  EXPECT_TRUE(refuses("model = \"m\"\n", "", "[[price]] 1: model: is missing"));
  EXPECT_TRUE(refuses("output_usd_per_million_tokens = 2\n", "",
                      "output_usd_per_million_tokens: is missing"));
  EXPECT_TRUE(refuses("from = 2026-10-01", "from = 2026-10-28", "after its source was read"));
  EXPECT_TRUE(refuses("from = 2026-10-01", "form = 2026-10-01", "unknown key \"form\""));
}

TEST(Prices, AnHourInTwoTariffsAndANameTwiceAreRefused) {
  const std::string second =
      "[[tariff]]\nprovider = \"p\"\nname = \"late\"\ndays = [\"sun\"]\n"
      "hours_utc = [[23, 24]]\n[[price]]";
  EXPECT_TRUE(refuses("[[price]]", second,
                      "[[tariff]] 2: hours_utc: hour 167 of the week is in tariff \"night\""));
  EXPECT_TRUE(refuses("name = \"night\"", "name = \"always\"",
                      "name: found \"always\", which has no hours"));
}

TEST(Prices, APeriodThatLacksATariffOrHasTwoPricesIsRefused) {
  EXPECT_TRUE(refuses("tariff = \"night\"", "tariff = \"off_peak\"", "a second price"));
  EXPECT_TRUE(refuses("tariff = \"off_peak\"", "tariff = \"always\"",
                      "input: found tariffs always, night, expected always"));
}

}  // namespace
}  // namespace fathom::plan

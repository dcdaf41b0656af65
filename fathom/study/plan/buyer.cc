#include "fathom/study/plan/buyer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/formats/toml_table.h"

namespace fathom::plan {
namespace {

using formats::TomlTable;

constexpr Index kHoursPerDay = 24;
constexpr Index kWeekdays = 5;
constexpr double kShareTolerance = 1e-6;
constexpr double kMaxUsd = 1e12;
constexpr double kMaxTokensPerMonth = 1e18;
constexpr double kLargestCount = 1e6;

constexpr BuyerField kFields[] = {
    {"tokens_per_month", &BuyerInputs::tokens_per_month, 1, kMaxTokensPerMonth,
     "tokens of all classes together"},
    {"utilisation", &BuyerInputs::utilisation, 1e-6, 1, "share of what the machines can compute"},
    {"capex_usd", &BuyerInputs::capex_usd, 0, kMaxUsd, "price of a machine"},
    {"life_months", &BuyerInputs::life_months, 1, 600, "until it is replaced"},
    {"residual_usd", &BuyerInputs::residual_usd, 0, kMaxUsd, "what it sells for then"},
    {"interest_per_year", &BuyerInputs::interest_per_year, 0, 1, "cost of capital, 0.05 for 5 %"},
    {"idle_watts", &BuyerInputs::idle_watts, 0, 1e6, "of a machine that waits"},
    {"load_watts", &BuyerInputs::load_watts, 1, 1e6, "of a machine that computes"},
    {"usd_per_kwh", &BuyerInputs::usd_per_kwh, 0, 10, "price of electricity"},
    {"pue", &BuyerInputs::pue, 1, 5, "power of the site over power of the machines"},
    {"operations_hours_per_month", &BuyerInputs::operations_hours_per_month, 0, 1e5,
     "work of people on all machines"},
    {"operations_usd_per_hour", &BuyerInputs::operations_usd_per_hour, 0, 1e4, "their wage"},
    {"other_usd_per_month", &BuyerInputs::other_usd_per_month, 0, kMaxUsd,
     "rack, network, licences"},
    {"cached_input_work_share", &BuyerInputs::cached_input_work_share, 0, 1,
     "work of an input token that is left when it is in the cache"},
    {"quality_penalty_share", &BuyerInputs::quality_penalty_share, 0, 0.99,
     "how much less an answer is worth than the API's"},
    {"api_price_drift_per_year", &BuyerInputs::api_price_drift_per_year, -0.95, 10,
     "relative change of API prices in a year"},
};

// Hours of work, 9 to 18 local, as hours UTC.
struct NamedWeek {
  std::string_view name;
  Index first_hour_utc;
};
constexpr NamedWeek kOffices[] = {{"office-beijing", 1}, {"office-europe", 8}, {"office-us", 14}};
constexpr Index kOfficeHours = 9;
constexpr double kOutsideShare = 0.15;  // of an office hour's traffic
constexpr double kWeekendShare = 0.3;

[[noreturn]] void refuse(const std::string& field,
                         const std::string& found,
                         const std::string& expected) {
  fail(ErrorCode::InvalidArgument, field, ": found ", found, ", expected ", expected);
}

void check_sum(const std::string& field, double sum) {
  if (!(std::abs(sum - 1) <= kShareTolerance)) {
    refuse(field, fmt::format("shares that sum to {:g}", sum), "shares that sum to 1");
  }
}

void check_field(const BuyerField& field, const Quantity& quantity) {
  const Percentiles& value = quantity.value;
  for (const double number : {value.p10, value.p50, value.p90}) {
    if (!(number >= field.lowest && number <= field.highest)) {
      refuse(field.name, fmt::format("{:g}", number),
             fmt::format("{:g} to {:g} ({})", field.lowest, field.highest, field.meaning));
    }
  }
  if (!(value.p10 <= value.p50 && value.p50 <= value.p90)) {
    refuse(field.name, fmt::format("[{:g}, {:g}, {:g}]", value.p10, value.p50, value.p90),
           "[p10, p50, p90] in ascending order");
  }
}

// All that is missing in one error, not one after another.
void check_is_whole(const BuyerInputs& inputs) {
  std::vector<std::string> missing;
  if (!inputs.tokens_per_month.is_there() && !inputs.utilisation.is_there()) {
    missing.emplace_back(
        "tokens_per_month (tokens of all classes together) or utilisation (share of what the "
        "machines can compute)");
  }
  if (inputs.mix.input + inputs.mix.cached_input + inputs.mix.output == 0) {
    missing.emplace_back("mix (shares of all tokens: input, output, cached input)");
  }
  for (const BuyerField& field : kFields) {
    const bool is_one_of_two = field.quantity == &BuyerInputs::tokens_per_month ||
                               field.quantity == &BuyerInputs::utilisation;
    if (!(inputs.*field.quantity).is_there() && !is_one_of_two) {
      missing.push_back(fmt::format("{} ({})", field.name, field.meaning));
    }
  }
  if (!missing.empty()) {
    fail(ErrorCode::InvalidArgument, "the buyer's inputs: missing are ",
         fmt::format("{} (docs/planning-costs.md)", fmt::join(missing, ", ")));
  }
}

void check_fields(const BuyerInputs& inputs) {
  for (const BuyerField& field : kFields) {
    const Quantity& quantity = inputs.*field.quantity;
    if (quantity.is_there()) {
      check_field(field, quantity);
    }
  }
}

void check_traffic(const BuyerInputs& inputs) {
  if (inputs.tokens_per_month.is_there() && inputs.utilisation.is_there()) {
    refuse("tokens_per_month, utilisation", "both",
           "one of them: tokens a month, or the share of what the machines can compute");
  }
  for (const TokenClass token_class : kTokenClasses) {
    const double share = inputs.mix.of(token_class);
    if (!(share >= 0)) {
      refuse("mix." + std::string(to_string(token_class)), fmt::format("{:g}", share),
             "a share of the tokens, 0 to 1");
    }
  }
  check_sum("mix", inputs.mix.input + inputs.mix.cached_input + inputs.mix.output);
  double sum = 0;
  for (const ContextShare& context : inputs.contexts) {
    if (context.context_tokens < 1 || !(context.share >= 0)) {
      refuse("contexts", fmt::format("[{}, {:g}]", context.context_tokens, context.share),
             "[tokens, share] with at least 1 token and a share of 0 to 1");
    }
    sum += context.share;
  }
  check_sum("contexts", sum);
  check_sum("traffic", std::accumulate(inputs.week.begin(), inputs.week.end(), 0.0));
}

void check_service(const BuyerInputs& inputs) {
  if (!(inputs.min_tokens_per_s_per_user >= 0)) {
    refuse("min_tokens_per_s_per_user", fmt::format("{:g}", inputs.min_tokens_per_s_per_user),
           "at least 0 tokens per second");
  }
  if (!(inputs.max_seconds_to_first_token >= 0)) {
    refuse("max_seconds_to_first_token", fmt::format("{:g}", inputs.max_seconds_to_first_token),
           "at least 0 seconds");
  }
  if (!(inputs.max_busy_share > 0 && inputs.max_busy_share <= 1)) {
    refuse("max_busy_share", fmt::format("{:g}", inputs.max_busy_share), "above 0, at most 1");
  }
  for (const auto& [name, count] : {std::pair{"concurrency", inputs.concurrency},
                                    std::pair{"num_machines", inputs.num_machines},
                                    std::pair{"num_spare_machines", inputs.num_spare_machines}}) {
    if (count < 0 || static_cast<double>(count) > kLargestCount) {
      refuse(name, std::to_string(count), fmt::format("0 to {:g}", kLargestCount));
    }
  }
}

void read_quantity(const TomlTable& table, const BuyerField& field, Quantity& quantity) {
  if (table.is_number(field.name)) {
    quantity = Quantity::stated(table.number(field.name));
  } else if (const auto numbers = table.find_numbers(field.name)) {
    if (numbers->size() != 3) {
      table.refuse(field.name, fmt::format("found {} numbers, expected one, or [p10, p50, p90]",
                                           numbers->size()));
    }
    quantity = Quantity::stated(Percentiles{(*numbers)[0], (*numbers)[1], (*numbers)[2]});
  }
}

Index read_count(const TomlTable& table, const char* key, Index otherwise) {
  const double number = table.find_number(key).value_or(static_cast<double>(otherwise));
  if (!(number >= 0 && number <= kLargestCount && number == std::floor(number))) {
    table.refuse(
        key, fmt::format("found {:g}, expected a whole number, 0 to {:g}", number, kLargestCount));
  }
  return static_cast<Index>(number);
}

void read_week(const TomlTable& table, BuyerInputs& inputs) {
  const std::optional<double> weekend = table.find_number("weekend_share");
  if (!table.has("traffic")) {
    if (weekend) {
      table.refuse("weekend_share", "is there without `traffic`, the 24 hours of a weekday");
    }
    return;
  }
  if (table.is_text("traffic")) {
    if (weekend) {
      table.refuse("weekend_share", "is there beside a named `traffic`, which has its own");
    }
    inputs.week_name = table.text("traffic");
    inputs.week = named_week(inputs.week_name);
    return;
  }
  inputs.week = week_of_hours(*table.find_numbers("traffic"), weekend.value_or(1));
  inputs.week_name = "24 hours UTC, weekend days at " + fmt::format("{:g}", weekend.value_or(1));
}

void read_contexts(const TomlTable& table, BuyerInputs& inputs) {
  const auto rows = table.find_number_rows("contexts");
  if (!rows) {
    return;
  }
  inputs.contexts.clear();
  inputs.are_contexts_stated = true;
  for (const std::vector<double>& row : *rows) {
    if (row.size() != 2 || !(row[0] >= 1 && row[0] <= 1e12) || row[0] != std::floor(row[0])) {
      table.refuse("contexts", "expected pairs [tokens, share], [[4096, 0.7], [65536, 0.3]]");
    }
    inputs.contexts.push_back({static_cast<Index>(row[0]), row[1]});
  }
}

}  // namespace

double TokenMix::of(TokenClass token_class) const {
  switch (token_class) {
    case TokenClass::Input:
      return input;
    case TokenClass::CachedInput:
      return cached_input;
    case TokenClass::Output:
      return output;
  }
  fail(ErrorCode::Internal, "unknown class of tokens");
}

WeekShape week_of_hours(std::span<const double> by_hour_utc, double weekend_share) {
  if (to_index(by_hour_utc.size()) != kHoursPerDay) {
    refuse("traffic", fmt::format("{} hours", by_hour_utc.size()),
           "24 numbers, one for each hour UTC");
  }
  if (!(weekend_share >= 0 && weekend_share <= 100)) {
    refuse("weekend_share", fmt::format("{:g}", weekend_share),
           "traffic of a weekend day over that of a weekday, 0 to 100");
  }
  WeekShape week = {};
  double sum = 0;
  for (Index hour = 0; hour < kHoursPerWeek; ++hour) {
    const double weight = by_hour_utc[to_size(hour % kHoursPerDay)];
    if (!(weight >= 0) || !std::isfinite(weight)) {
      refuse("traffic", fmt::format("{:g} in hour {}", weight, hour % kHoursPerDay), "at least 0");
    }
    week[to_size(hour)] = weight * (hour / kHoursPerDay < kWeekdays ? 1 : weekend_share);
    sum += week[to_size(hour)];
  }
  if (!(sum > 0) || !std::isfinite(sum)) {
    refuse("traffic", fmt::format("hours that sum to {:g}", sum), "some traffic");
  }
  for (double& weight : week) {
    weight /= sum;
  }
  return week;
}

WeekShape named_week(const std::string& name) {
  std::array<double, kHoursPerDay> hours = {};
  if (name == "flat") {
    hours.fill(1);
    return week_of_hours(hours, 1);
  }
  std::string names = "flat";
  for (const NamedWeek& office : kOffices) {
    if (office.name == name) {
      hours.fill(kOutsideShare);
      for (Index hour = 0; hour < kOfficeHours; ++hour) {
        hours[to_size((office.first_hour_utc + hour) % kHoursPerDay)] = 1;
      }
      return week_of_hours(hours, kWeekendShare);
    }
    names += ", " + std::string(office.name);
  }
  refuse("traffic", formats::quote(name), names + ", or 24 numbers");
}

std::span<const BuyerField> buyer_fields() {
  return kFields;
}

void check(const BuyerInputs& inputs) {
  check_is_whole(inputs);
  check_traffic(inputs);
  check_service(inputs);
  check_fields(inputs);
  const auto exceeds = [](const Percentiles& a, const Percentiles& b) {
    return a.p10 > b.p10 || a.p50 > b.p50 || a.p90 > b.p90;
  };
  if (exceeds(inputs.residual_usd.value, inputs.capex_usd.value)) {
    refuse("residual_usd", fmt::format("{:g}", inputs.residual_usd.value.p50),
           fmt::format("at most capex_usd, {:g} US dollars", inputs.capex_usd.value.p50));
  }
  if (exceeds(inputs.idle_watts.value, inputs.load_watts.value)) {
    refuse("idle_watts", fmt::format("{:g}", inputs.idle_watts.value.p50),
           fmt::format("at most load_watts, {:g} W", inputs.load_watts.value.p50));
  }
}

BuyerInputs read_buyer(std::string_view text, const std::string& name, BuyerInputs defaults) {
  const TomlTable table = TomlTable::parse(text, name);
  BuyerInputs inputs = std::move(defaults);
  for (const BuyerField& field : kFields) {
    read_quantity(table, field, inputs.*field.quantity);
  }
  read_week(table, inputs);
  read_contexts(table, inputs);
  if (const auto mix = table.find_table("mix")) {
    inputs.mix = {mix->number("input"), mix->number("cached_input"), mix->number("output")};
    mix->refuse_unread();
  }
  const auto read_number = [&](const char* key, double& number) {
    number = table.find_number(key).value_or(number);
  };
  read_number("min_tokens_per_s_per_user", inputs.min_tokens_per_s_per_user);
  read_number("max_seconds_to_first_token", inputs.max_seconds_to_first_token);
  read_number("max_busy_share", inputs.max_busy_share);
  inputs.concurrency = read_count(table, "concurrency", inputs.concurrency);
  inputs.num_machines = read_count(table, "num_machines", inputs.num_machines);
  inputs.num_spare_machines = read_count(table, "num_spare_machines", inputs.num_spare_machines);
  inputs.api_provider = table.find_text("api_provider").value_or(inputs.api_provider);
  inputs.api_model = table.find_text("api_model").value_or(inputs.api_model);
  table.refuse_unread();
  return inputs;
}

}  // namespace fathom::plan

// What a buyer says about traffic, machine and money, and how it is checked.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/study/plan/percentiles.h"
#include "fathom/study/plan/prices.h"

namespace fathom::plan {

// A quantity and who says it: figures are printed with their basis.
struct Quantity {
  enum class Origin { Missing, Assumed, Stated };
  Percentiles value;
  Origin origin = Origin::Missing;
  static Quantity stated(const Percentiles& value) { return {value, Origin::Stated}; }
  static Quantity stated(double value) { return {Percentiles::exactly(value), Origin::Stated}; }
  static Quantity assumed(double p10, double p50, double p90) {
    return {{p10, p50, p90}, Origin::Assumed};
  }
  bool is_there() const { return origin != Origin::Missing; }
};

// Shares of all tokens; together 1.
struct TokenMix {
  double input = 0;  // not in the cache
  double cached_input = 0;
  double output = 0;
  double of(TokenClass token_class) const;
};

// A share of the sequences decodes at this context. Shares together 1.
struct ContextShare {
  Index context_tokens = 0;
  double share = 0;
};

// Weights of the hours of a week, together 1; hour 0 is Monday 00:00 UTC.
using WeekShape = std::array<double, kHoursPerWeek>;
// "flat", "office-beijing", "office-europe", "office-us": from 9 to 18 there, and less outside. A
// shape to reckon with, not a measurement. Throws InvalidArgument listing them for another name.
WeekShape named_week(const std::string& name);
// The same 24 hours every day; a day of the weekend has `weekend_share` of a weekday's traffic.
// Throws InvalidArgument for another number of hours, a negative one, or none above 0.
WeekShape week_of_hours(std::span<const double> by_hour_utc, double weekend_share);

struct BuyerInputs {
  // One of the two. Utilisation: the share of what the machines can compute that is computed.
  Quantity tokens_per_month;
  Quantity utilisation;
  TokenMix mix;
  WeekShape week = named_week("flat");
  std::string week_name = "flat (assumed by Fathom)";
  std::vector<ContextShare> contexts = {{4096, 1.0}};
  bool are_contexts_stated = false;

  double min_tokens_per_s_per_user = 0;
  double max_seconds_to_first_token = 0;  // 0: no limit
  Index concurrency = 0;         // sequences at a time; 0: the fastest that keeps the user's limit
  Index num_machines = 0;        // 0: as many as the busiest hour needs (with utilisation: 1)
  Index num_spare_machines = 0;  // bought and idle, for when one fails
  double max_busy_share = 0.8;   // of the busiest hour, where machines are counted

  // Per machine.
  Quantity capex_usd;
  Quantity life_months = Quantity::assumed(30, 36, 48);
  Quantity residual_usd = Quantity::assumed(0, 0, 0);
  Quantity interest_per_year = Quantity::assumed(0.03, 0.05, 0.08);
  Quantity idle_watts;
  Quantity load_watts;
  Quantity usd_per_kwh;
  Quantity pue = Quantity::assumed(1.1, 1.2, 1.5);
  // Of all machines together.
  Quantity operations_hours_per_month = Quantity::assumed(2, 4, 8);
  Quantity operations_usd_per_hour = Quantity::assumed(40, 60, 100);
  Quantity other_usd_per_month = Quantity::assumed(0, 0, 0);

  // Part of the work of an input token that is left when it is in the cache.
  Quantity cached_input_work_share = Quantity::assumed(0.01, 0.03, 0.1);
  // An answer of this model is worth so much less than one of the API.
  Quantity quality_penalty_share = Quantity::assumed(0, 0, 0);
  // Relative change of API prices in a year, over the life of the machines.
  Quantity api_price_drift_per_year = Quantity::assumed(-0.3, 0, 0.3);

  std::string api_provider = "deepseek";
  std::string api_model = "flash";
};

// Every uncertain quantity of a buyer: the one list for files, options, checks, draws and tornado.
struct BuyerField {
  const char* name;  // with its unit
  Quantity BuyerInputs::*quantity;
  double lowest;
  double highest;
  const char* meaning;
};
std::span<const BuyerField> buyer_fields();

// Throws InvalidArgument naming field, unit, what was found and what is expected.
void check(const BuyerInputs& inputs);

// A TOML file: a key for every field above (a number, or [p10, p50, p90]) and `traffic` (a name or
// 24 numbers), `weekend_share`, `mix` = {input, cached_input, output}, `contexts` = [[tokens,
// share], ...]. docs/planning-costs.md has an example. Throws InvalidArgument naming file, line and
// key; what the file leaves out stays as it is in `defaults`. Does not check().
BuyerInputs read_buyer(std::string_view text, const std::string& name, BuyerInputs defaults);

}  // namespace fathom::plan

#include "fathom/study/plan/cost.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "fathom/base/core/error.h"

namespace fathom::plan {
namespace {

constexpr double kSecondsPerHour = 3600;
constexpr double kSecondsPerMonth = kHoursPerMonth * kSecondsPerHour;
constexpr double kMonthsPerYear = 12;
constexpr double kWattsPerKilowatt = 1000;
constexpr double kMillion = 1e6;
constexpr double kWeeksPerMonth = kHoursPerMonth / static_cast<double>(kHoursPerWeek);

std::size_t row_of(Quantity BuyerInputs::*quantity) {
  const std::span<const BuyerField> fields = buyer_fields();
  for (std::size_t row = 0; row < fields.size(); ++row) {
    if (fields[row].quantity == quantity) {
      return row;
    }
  }
  fail(ErrorCode::Internal, "a quantity of a buyer that is no field");
}

double value_of(const CostValues& values, Quantity BuyerInputs::*quantity) {
  return values.fields[row_of(quantity)];
}

void check_speed(const std::string& name, const Percentiles& speed) {
  if (!(speed.p10 > 0 && speed.p10 <= speed.p50 && speed.p50 <= speed.p90) ||
      !std::isfinite(speed.p90)) {
    fail(ErrorCode::InvalidArgument, name, ": found [", speed.p10, ", ", speed.p50, ", ", speed.p90,
         "], expected p10, p50, p90 in ascending order above 0 tokens per second");
  }
}

// Throws unless every context comes with every concurrency.
void check_grid(const MachineSpeed& speed) {
  std::set<Index> contexts;
  std::set<Index> concurrencies;
  std::set<std::pair<Index, Index>> points;
  for (const DecodePoint& point : speed.decode) {
    check_speed("decode_tokens_per_s", point.tokens_per_s);
    if (point.context_tokens < 0 || point.concurrency < 1) {
      fail(ErrorCode::InvalidArgument, "decode_tokens_per_s: found context ", point.context_tokens,
           " and concurrency ", point.concurrency, ", expected at least 0 and 1");
    }
    contexts.insert(point.context_tokens);
    concurrencies.insert(point.concurrency);
    points.insert({point.context_tokens, point.concurrency});
  }
  if (points.empty() || points.size() != contexts.size() * concurrencies.size() ||
      points.size() != speed.decode.size()) {
    fail(ErrorCode::InvalidArgument, "decode_tokens_per_s: found ", speed.decode.size(),
         " points, expected each of ", contexts.size(), " contexts with each of ",
         concurrencies.size(), " concurrencies once");
  }
}

// y at x on the line through the neighbours of x; the outermost lines go on.
double interpolate(const std::vector<std::pair<double, double>>& points, double x) {
  if (points.size() == 1) {
    return points.front().second;
  }
  auto upper =
      std::lower_bound(points.begin(), points.end(), x,
                       [](const auto& point, double value) { return point.first < value; });
  upper = std::clamp(upper, points.begin() + 1, points.end() - 1);
  const auto& [x1, y1] = *upper;
  const auto& [x0, y0] = *(upper - 1);
  return y0 + (y1 - y0) * (x - x0) / (x1 - x0);
}

// Seconds per token grow in a line with the context, so they are what is interpolated and averaged.
double mean_decode_rate(const MachineSpeed& speed,
                        const std::vector<ContextShare>& contexts,
                        Index concurrency,
                        double Percentiles::*percentile) {
  std::vector<std::pair<double, double>> seconds;
  for (const DecodePoint& point : speed.decode) {
    if (point.concurrency == concurrency) {
      seconds.emplace_back(static_cast<double>(point.context_tokens),
                           1 / (point.tokens_per_s.*percentile));
    }
  }
  std::sort(seconds.begin(), seconds.end());
  const auto fastest =
      std::min_element(seconds.begin(), seconds.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  double mean = 0;
  for (const ContextShare& context : contexts) {
    double at_context = interpolate(seconds, static_cast<double>(context.context_tokens));
    // Going on beyond the contexts that were given, a line may fall but not below what was reached.
    at_context = std::max(at_context, fastest->second);
    mean += context.share * at_context;
  }
  return 1 / mean;
}

Percentiles mean_decode(const MachineSpeed& speed,
                        const std::vector<ContextShare>& contexts,
                        Index concurrency) {
  return {mean_decode_rate(speed, contexts, concurrency, &Percentiles::p10),
          mean_decode_rate(speed, contexts, concurrency, &Percentiles::p50),
          mean_decode_rate(speed, contexts, concurrency, &Percentiles::p90)};
}

// The concurrency of the most tokens per second among those that serve each user fast enough.
Index choose_concurrency(const BuyerInputs& inputs, const MachineSpeed& speed) {
  std::set<Index> choices;
  for (const DecodePoint& point : speed.decode) {
    choices.insert(point.concurrency);
  }
  if (inputs.concurrency > 0) {
    if (!choices.contains(inputs.concurrency)) {
      fail(ErrorCode::InvalidArgument, "concurrency: found ", inputs.concurrency,
           ", expected one that the speeds are given for: ",
           fmt::format("{}", fmt::join(choices, ", ")));
    }
    choices = {inputs.concurrency};
  }
  Index best = 0;
  double best_rate = 0;
  double best_per_user = 0;
  for (const Index concurrency : choices) {
    const double rate = mean_decode(speed, inputs.contexts, concurrency).p50;
    const double per_user = rate / static_cast<double>(concurrency);
    best_per_user = std::max(best_per_user, per_user);
    if (per_user >= inputs.min_tokens_per_s_per_user && rate > best_rate) {
      best = concurrency;
      best_rate = rate;
    }
  }
  if (best == 0) {
    fail(ErrorCode::InvalidArgument, "min_tokens_per_s_per_user: found ",
         inputs.min_tokens_per_s_per_user, ", expected at most ",
         fmt::format("{:.2f}", best_per_user),
         " tokens per second, which this machine decodes for a user at these contexts");
  }
  return best;
}

ByClass mean_api_prices(const ApiPrices& prices, const WeekShape& week) {
  ByClass mean = {};
  for (const TokenClass token_class : kTokenClasses) {
    for (Index hour = 0; hour < kHoursPerWeek; ++hour) {
      at(mean, token_class) += week[to_size(hour)] * prices.usd(token_class, hour);
    }
  }
  return mean;
}

double mixed(const TokenMix& mix, const ByClass& prices) {
  double sum = 0;
  for (const TokenClass token_class : kTokenClasses) {
    sum += mix.of(token_class) * at(prices, token_class);
  }
  return sum;
}

// The mean of (1 + drift)^t over the months of the machines' life.
double mean_drift(double drift_per_year, double life_months) {
  const double exponent = std::log1p(drift_per_year) * life_months / kMonthsPerYear;
  return exponent == 0 ? 1 : std::expm1(exponent) / exponent;
}

}  // namespace

double& at(ByClass& values, TokenClass token_class) {
  return values[static_cast<std::size_t>(token_class)];
}

double at(const ByClass& values, TokenClass token_class) {
  return values[static_cast<std::size_t>(token_class)];
}

double annuity_usd_per_month(double capex_usd,
                             double residual_usd,
                             double life_months,
                             double interest_per_year) {
  const double interest = interest_per_year / kMonthsPerYear;
  if (interest == 0) {
    return (capex_usd - residual_usd) / life_months;
  }
  const double discount = std::exp(-life_months * std::log1p(interest));
  return (capex_usd - residual_usd * discount) * interest / (1 - discount);
}

CostModel::CostModel(BuyerInputs inputs, MachineSpeed speed, ApiPrices prices)
    : inputs_(std::move(inputs)), speed_(std::move(speed)), prices_(std::move(prices)) {
  check(inputs_);
  check_grid(speed_);
  check_speed("prefill_tokens_per_s", speed_.prefill_tokens_per_s);
  api_prices_ = mean_api_prices(prices_, inputs_.week);
  concurrency_ = choose_concurrency(inputs_, speed_);
  decode_ = mean_decode(speed_, inputs_.contexts, concurrency_);
  num_machines_ = inputs_.num_machines > 0 ? inputs_.num_machines : count_machines();
  if (inputs_.tokens_per_month.is_there()) {
    const double seconds = inputs_.tokens_per_month.value.p50 * mean_seconds_per_token(median());
    const double machines = seconds / kSecondsPerMonth;
    if (machines > static_cast<double>(num_machines_)) {
      fail(ErrorCode::InvalidArgument, "num_machines: found ", num_machines_,
           ", expected at least ", std::ceil(machines), " for tokens_per_month of ",
           inputs_.tokens_per_month.value.p50);
    }
  }
}

// As many as the busiest hour needs with `max_busy_share` of each.
Index CostModel::count_machines() const {
  if (!inputs_.tokens_per_month.is_there()) {
    return 1;
  }
  const double busiest = *std::max_element(inputs_.week.begin(), inputs_.week.end());
  const double tokens_per_hour = inputs_.tokens_per_month.value.p50 / kWeeksPerMonth * busiest;
  const double machines = tokens_per_hour * mean_seconds_per_token(median()) / kSecondsPerHour;
  const double count = std::ceil(machines / inputs_.max_busy_share - 1e-9);
  constexpr double kMost = 1e6;
  if (count > kMost) {
    fail(ErrorCode::InvalidArgument, "tokens_per_month: found ", inputs_.tokens_per_month.value.p50,
         ", which takes ", count, " machines, expected at most ", kMost);
  }
  return std::max<Index>(1, static_cast<Index>(count));
}

double CostModel::seconds_to_first_token() const {
  double context = 0;
  for (const ContextShare& share : inputs_.contexts) {
    context += share.share * static_cast<double>(share.context_tokens);
  }
  const double prompt = inputs_.mix.input + inputs_.mix.cached_input;
  const double uncached = prompt > 0 ? inputs_.mix.input / prompt : 0;
  return context * uncached / speed_.prefill_tokens_per_s.p50;
}

CostValues CostModel::median() const {
  CostValues values;
  for (const BuyerField& field : buyer_fields()) {
    values.fields.push_back((inputs_.*field.quantity).value.p50);
  }
  values.decode_tokens_per_s = decode_.p50;
  values.prefill_tokens_per_s = speed_.prefill_tokens_per_s.p50;
  return values;
}

ByClass CostModel::seconds_per_token(const CostValues& values) const {
  ByClass seconds = {};
  at(seconds, TokenClass::Input) = 1 / values.prefill_tokens_per_s;
  at(seconds, TokenClass::CachedInput) =
      value_of(values, &BuyerInputs::cached_input_work_share) / values.prefill_tokens_per_s;
  at(seconds, TokenClass::Output) = 1 / values.decode_tokens_per_s;
  return seconds;
}

double CostModel::mean_seconds_per_token(const CostValues& values) const {
  return mixed(inputs_.mix, seconds_per_token(values));
}

// Hours that ask for more than there is lose the rest.
double CostModel::served_tokens(double asked_tokens, double capacity_tokens) const {
  const double capacity_of_hour = capacity_tokens / static_cast<double>(kHoursPerWeek);
  double served = 0;
  for (const double weight : inputs_.week) {
    served += std::min(asked_tokens * weight, capacity_of_hour);
  }
  return served;
}

MonthlyCost CostModel::monthly_cost(const CostValues& values, double utilisation) const {
  const auto working = static_cast<double>(num_machines_);
  const auto spare = static_cast<double>(inputs_.num_spare_machines);
  const double capex = value_of(values, &BuyerInputs::capex_usd);
  const double residual = std::min(value_of(values, &BuyerInputs::residual_usd), capex);
  const double load = value_of(values, &BuyerInputs::load_watts);
  const double idle = std::min(value_of(values, &BuyerInputs::idle_watts), load);
  const double watts = working * (idle + (load - idle) * utilisation) + spare * idle;
  MonthlyCost cost;
  cost.capital_usd =
      (working + spare) * annuity_usd_per_month(capex, residual,
                                                value_of(values, &BuyerInputs::life_months),
                                                value_of(values, &BuyerInputs::interest_per_year));
  cost.energy_usd = watts / kWattsPerKilowatt * kHoursPerMonth *
                    value_of(values, &BuyerInputs::pue) *
                    value_of(values, &BuyerInputs::usd_per_kwh);
  cost.operations_usd = value_of(values, &BuyerInputs::operations_hours_per_month) *
                        value_of(values, &BuyerInputs::operations_usd_per_hour);
  cost.other_usd = value_of(values, &BuyerInputs::other_usd_per_month);
  return cost;
}

void CostModel::add_api(const CostValues& values, CostPoint& point) const {
  const double drift = mean_drift(value_of(values, &BuyerInputs::api_price_drift_per_year),
                                  value_of(values, &BuyerInputs::life_months));
  for (const TokenClass token_class : kTokenClasses) {
    at(point.api_usd_per_million_tokens, token_class) = drift * at(api_prices_, token_class);
  }
  point.api_usd_per_million_mixed_tokens = mixed(inputs_.mix, point.api_usd_per_million_tokens);
  point.api_usd_per_month = point.tokens_per_month / kMillion *
                            point.api_usd_per_million_mixed_tokens *
                            (1 - value_of(values, &BuyerInputs::quality_penalty_share));
}

// Cost is a line in the utilisation, and so is the API's bill: they meet once, or never.
void CostModel::add_crossover(const CostValues& values, CostPoint& point) const {
  const double fixed = monthly_cost(values, 0).total_usd();
  const double rising = monthly_cost(values, 1).total_usd() - fixed;
  const double worth = point.capacity_tokens_per_month / kMillion *
                       point.api_usd_per_million_mixed_tokens *
                       (1 - value_of(values, &BuyerInputs::quality_penalty_share));
  const double utilisation = worth > rising ? fixed / (worth - rising)
                             : fixed == 0   ? 0
                                            : std::numeric_limits<double>::infinity();
  point.crossover_utilisation =
      utilisation <= 1 ? utilisation : std::numeric_limits<double>::infinity();
  point.crossover_tokens_per_month = point.crossover_utilisation * point.capacity_tokens_per_month;
}

CostPoint CostModel::evaluate_at(const CostValues& values, double utilisation) const {
  const ByClass seconds = seconds_per_token(values);
  CostPoint point;
  point.utilisation = utilisation;
  point.capacity_tokens_per_month =
      static_cast<double>(num_machines_) * kSecondsPerMonth / mixed(inputs_.mix, seconds);
  point.tokens_per_month = utilisation * point.capacity_tokens_per_month;
  point.own = monthly_cost(values, utilisation);
  const double busy_seconds = static_cast<double>(num_machines_) * kSecondsPerMonth * utilisation;
  for (const TokenClass token_class : kTokenClasses) {
    at(point.own_usd_per_million_tokens, token_class) =
        kMillion * at(seconds, token_class) * point.own.total_usd() / busy_seconds;
  }
  point.own_usd_per_million_mixed_tokens = mixed(inputs_.mix, point.own_usd_per_million_tokens);
  add_api(values, point);
  add_crossover(values, point);
  return point;
}

CostPoint CostModel::evaluate(const CostValues& values) const {
  const double capacity =
      static_cast<double>(num_machines_) * kSecondsPerMonth / mean_seconds_per_token(values);
  const double asked = inputs_.tokens_per_month.is_there()
                           ? value_of(values, &BuyerInputs::tokens_per_month)
                           : value_of(values, &BuyerInputs::utilisation) * capacity;
  const double served = served_tokens(asked, capacity);
  CostPoint point = evaluate_at(values, served / capacity);
  point.unserved_share = std::max(0.0, 1 - served / asked);
  return point;
}

}  // namespace fathom::plan

// What tokens cost on machines of one's own, and over an API: one evaluation at known numbers.
//
// A month has 730 hours. Machines compute one thing at a time, prefill or decoding, so a token
// costs the seconds that it keeps them busy; docs/planning-costs.md states the allocation and its
// limits.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "fathom/base/core/index.h"
#include "fathom/study/plan/buyer.h"
#include "fathom/study/plan/percentiles.h"
#include "fathom/study/plan/prices.h"

namespace fathom::plan {

inline constexpr double kHoursPerMonth = 730;

// A number of every token class.
using ByClass = std::array<double, kTokenClasses.size()>;
double& at(ByClass& values, TokenClass token_class);
double at(const ByClass& values, TokenClass token_class);

struct MonthlyCost {
  double capital_usd = 0;
  double energy_usd = 0;
  double operations_usd = 0;
  double other_usd = 0;
  double total_usd() const { return capital_usd + energy_usd + operations_usd + other_usd; }
};

// Everything that follows from one value of every uncertain quantity.
struct CostPoint {
  MonthlyCost own;
  ByClass own_usd_per_million_tokens = {};
  ByClass api_usd_per_million_tokens = {};  // over the hours of the traffic, with the drift
  double own_usd_per_million_mixed_tokens = 0;
  double api_usd_per_million_mixed_tokens = 0;
  double tokens_per_month = 0;           // that the machines serve
  double capacity_tokens_per_month = 0;  // of all machines at full load
  double utilisation = 0;                // the one over the other
  double unserved_share = 0;             // of the tokens asked for: hours above capacity
  double api_usd_per_month = 0;          // for the same tokens, less the quality penalty
  double saving_usd_per_month() const { return api_usd_per_month - own.total_usd(); }
  // Where both cost the same; infinite where full load does not pay for the machines.
  double crossover_utilisation = 0;
  double crossover_tokens_per_month = 0;
};

// One value for every row of buyer_fields(), and for the speeds.
struct CostValues {
  std::vector<double> fields;
  double decode_tokens_per_s = 0;  // of one machine, all sequences together
  double prefill_tokens_per_s = 0;
};

// Buyer, speed and prices, checked and brought into the form that an evaluation needs.
class CostModel {
 public:
  // Throws InvalidArgument as check() does, and for speeds that are not positive or in no full
  // grid, a concurrency outside of it, a user's limit that no concurrency keeps, and machines that
  // do not suffice for the tokens even on average.
  CostModel(BuyerInputs inputs, MachineSpeed speed, ApiPrices prices);

  const BuyerInputs& inputs() const { return inputs_; }
  const MachineSpeed& speed() const { return speed_; }
  const ApiPrices& prices() const { return prices_; }
  Index concurrency() const { return concurrency_; }
  Index num_machines() const { return num_machines_; }
  // Of one machine over the contexts, at the chosen concurrency.
  const Percentiles& decode_tokens_per_s() const { return decode_; }
  // Prefill of the mean context's share that is not cached, alone on a machine.
  double seconds_to_first_token() const;

  CostValues median() const;
  CostPoint evaluate(const CostValues& values) const;
  // At this share of the capacity, whatever the traffic was said to be.
  CostPoint evaluate_at(const CostValues& values, double utilisation) const;

 private:
  ByClass seconds_per_token(const CostValues& values) const;
  double mean_seconds_per_token(const CostValues& values) const;
  double served_tokens(double asked_tokens, double capacity_tokens) const;
  MonthlyCost monthly_cost(const CostValues& values, double utilisation) const;
  void add_api(const CostValues& values, CostPoint& point) const;
  void add_crossover(const CostValues& values, CostPoint& point) const;
  Index count_machines() const;

  BuyerInputs inputs_;
  MachineSpeed speed_;
  ApiPrices prices_;
  ByClass api_prices_ = {};  // of today, over the hours of the traffic
  Index concurrency_ = 0;
  Percentiles decode_;
  Index num_machines_ = 0;
};

// Monthly payment for a machine: capital less what it sells for, paid back with interest.
double annuity_usd_per_month(double capex_usd,
                             double residual_usd,
                             double life_months,
                             double interest_per_year);

}  // namespace fathom::plan

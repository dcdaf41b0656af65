// Buyers, speeds and prices for tests of the money side.
#pragma once

#include "fathom/study/plan/cost.h"

namespace fathom::testing {

// Every quantity known exactly: nothing but what a test is about is uncertain.
inline plan::BuyerInputs exact_buyer() {
  plan::BuyerInputs inputs;
  for (const plan::BuyerField& field : plan::buyer_fields()) {
    inputs.*field.quantity = plan::Quantity::stated(0);
  }
  inputs.tokens_per_month = {};
  inputs.utilisation = plan::Quantity::stated(0.5);
  inputs.mix = {.input = 0.25, .cached_input = 0.5, .output = 0.25};
  inputs.capex_usd = plan::Quantity::stated(36'000);
  inputs.life_months = plan::Quantity::stated(36);
  inputs.idle_watts = plan::Quantity::stated(200);
  inputs.load_watts = plan::Quantity::stated(1000);
  inputs.usd_per_kwh = plan::Quantity::stated(0.2);
  inputs.pue = plan::Quantity::stated(1.5);
  inputs.operations_hours_per_month = plan::Quantity::stated(4);
  inputs.operations_usd_per_hour = plan::Quantity::stated(50);
  inputs.other_usd_per_month = plan::Quantity::stated(30);
  inputs.cached_input_work_share = plan::Quantity::stated(0.1);
  return inputs;
}

// 500 tokens/s decoded of 8 sequences, 2,000 of prefill, at every context.
inline plan::MachineSpeed constant_speed() {
  return {
      .decode = {{0, 1, plan::Percentiles::exactly(100)}, {0, 8, plan::Percentiles::exactly(500)}},
      .prefill_tokens_per_s = plan::Percentiles::exactly(2000),
      .basis = "a test"};
}

inline plan::ApiPrices prices_on(const std::string& date, const std::string& model = "flash") {
  return plan::PriceTable::builtin().at("deepseek", model, plan::parse_date(date, "date"));
}

inline plan::CostModel exact_model(const plan::BuyerInputs& inputs = exact_buyer()) {
  return {inputs, constant_speed(), prices_on("2026-10-27")};
}

}  // namespace fathom::testing

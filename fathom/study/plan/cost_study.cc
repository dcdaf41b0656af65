#include "fathom/study/plan/cost_study.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "fathom/base/core/error.h"
#include "fathom/study/plan/distribution.h"

namespace fathom::plan {
namespace {

constexpr Index kFewestDraws = 100;
constexpr Index kMostDraws = 10'000'000;
constexpr Index kBreakEvenPoints = 20;
// The curve needs an interval at every point and no more than the eye resolves.
constexpr Index kCurveDraws = 2'000;
constexpr const char* kDecodeName = "decode_tokens_per_s";
constexpr const char* kPrefillName = "prefill_tokens_per_s";

// An uncertain quantity of the model: where its percentiles are and where a value of it goes.
struct Variable {
  std::string name;
  Percentiles percentiles;
  double lowest;
  double highest;
  std::size_t idx;  // of the fields; beyond them the two speeds
};

double& slot(CostValues& values, std::size_t idx) {
  const std::size_t num_fields = values.fields.size();
  return idx < num_fields    ? values.fields[idx]
         : idx == num_fields ? values.decode_tokens_per_s
                             : values.prefill_tokens_per_s;
}

std::vector<Variable> uncertain(const CostModel& model) {
  std::vector<Variable> variables;
  const std::span<const BuyerField> fields = buyer_fields();
  for (std::size_t idx = 0; idx < fields.size(); ++idx) {
    const Quantity& quantity = model.inputs().*fields[idx].quantity;
    if (quantity.is_there() && !quantity.value.is_exact()) {
      variables.push_back(
          {fields[idx].name, quantity.value, fields[idx].lowest, fields[idx].highest, idx});
    }
  }
  const auto add_speed = [&](const char* name, const Percentiles& speed, std::size_t idx) {
    if (!speed.is_exact()) {
      variables.push_back({name, speed, 0, HUGE_VAL, idx});
    }
  };
  add_speed(kDecodeName, model.decode_tokens_per_s(), fields.size());
  add_speed(kPrefillName, model.speed().prefill_tokens_per_s, fields.size() + 1);
  return variables;
}

CostValues draw(const CostModel& model,
                const std::vector<Variable>& variables,
                std::uint64_t seed,
                Index draw_idx) {
  CostValues values = model.median();
  for (const Variable& variable : variables) {
    const double z = normal_quantile(uniform(seed, static_cast<std::uint64_t>(draw_idx),
                                             static_cast<std::uint64_t>(variable.idx)));
    slot(values, variable.idx) =
        std::clamp(value_at(variable.percentiles, z), variable.lowest, variable.highest);
  }
  return values;
}

template <typename Get>
Percentiles percentiles_over(const std::vector<CostPoint>& points, const Get& get) {
  std::vector<double> values;
  values.reserve(points.size());
  for (const CostPoint& point : points) {
    values.push_back(get(point));
  }
  return percentiles_of(std::move(values));
}

template <typename Is>
double share_of(const std::vector<CostPoint>& points, const Is& is) {
  return static_cast<double>(std::count_if(points.begin(), points.end(), is)) /
         static_cast<double>(points.size());
}

CostIntervals summarise(const std::vector<CostPoint>& points) {
  CostIntervals out;
  for (const TokenClass token_class : kTokenClasses) {
    const auto idx = static_cast<std::size_t>(token_class);
    out.own_usd_per_million_tokens[idx] = percentiles_over(
        points, [&](const CostPoint& point) { return point.own_usd_per_million_tokens[idx]; });
    out.api_usd_per_million_tokens[idx] = percentiles_over(
        points, [&](const CostPoint& point) { return point.api_usd_per_million_tokens[idx]; });
  }
  out.own_usd_per_month =
      percentiles_over(points, [](const CostPoint& point) { return point.own.total_usd(); });
  out.api_usd_per_month =
      percentiles_over(points, [](const CostPoint& point) { return point.api_usd_per_month; });
  out.saving_usd_per_month =
      percentiles_over(points, [](const CostPoint& point) { return point.saving_usd_per_month(); });
  out.utilisation =
      percentiles_over(points, [](const CostPoint& point) { return point.utilisation; });
  out.crossover_utilisation =
      percentiles_over(points, [](const CostPoint& point) { return point.crossover_utilisation; });
  out.crossover_tokens_per_month = percentiles_over(
      points, [](const CostPoint& point) { return point.crossover_tokens_per_month; });
  out.share_own_is_cheaper =
      share_of(points, [](const CostPoint& point) { return point.saving_usd_per_month() > 0; });
  out.share_without_crossover = share_of(
      points, [](const CostPoint& point) { return std::isinf(point.crossover_utilisation); });
  out.share_with_unserved_tokens =
      share_of(points, [](const CostPoint& point) { return point.unserved_share > 1e-9; });
  return out;
}

std::vector<TornadoBar> tornado(const CostModel& model, const std::vector<Variable>& variables) {
  std::vector<TornadoBar> bars;
  for (const Variable& variable : variables) {
    const auto saving_at = [&](double value) {
      CostValues values = model.median();
      slot(values, variable.idx) = value;
      return model.evaluate(values).saving_usd_per_month();
    };
    bars.push_back({variable.name, variable.percentiles, saving_at(variable.percentiles.p10),
                    saving_at(variable.percentiles.p90)});
  }
  std::stable_sort(bars.begin(), bars.end(), [](const TornadoBar& a, const TornadoBar& b) {
    return a.swing_usd() > b.swing_usd();
  });
  return bars;
}

std::vector<BreakEvenPoint> break_even(const CostModel& model,
                                       const std::vector<CostValues>& draws) {
  std::vector<BreakEvenPoint> curve;
  for (Index step = 1; step <= kBreakEvenPoints; ++step) {
    const double utilisation = static_cast<double>(step) / static_cast<double>(kBreakEvenPoints);
    std::vector<CostPoint> points;
    points.reserve(draws.size());
    for (const CostValues& values : draws) {
      points.push_back(model.evaluate_at(values, utilisation));
    }
    curve.push_back(
        {utilisation, model.evaluate_at(model.median(), utilisation).tokens_per_month,
         percentiles_over(points,
                          [](const auto& point) { return point.own_usd_per_million_mixed_tokens; }),
         percentiles_over(
             points, [](const auto& point) { return point.api_usd_per_million_mixed_tokens; })});
  }
  return curve;
}

std::vector<Basis> basis_of(const CostModel& model) {
  std::vector<Basis> basis;
  for (const BuyerField& field : buyer_fields()) {
    const Quantity& quantity = model.inputs().*field.quantity;
    if (quantity.is_there()) {
      const bool is_stated = quantity.origin == Quantity::Origin::Stated;
      basis.push_back({field.name, quantity.value, is_stated ? "stated" : "assumed by Fathom"});
    }
  }
  basis.push_back({kDecodeName, model.decode_tokens_per_s(), model.speed().basis});
  basis.push_back({kPrefillName, model.speed().prefill_tokens_per_s, model.speed().basis});
  for (const PriceLine& line : model.prices().lines) {
    basis.push_back(
        {fmt::format("API {} {} {}, {}, USD per million tokens", line.provider, line.model,
                     to_string(line.token_class), line.tariff),
         Percentiles::exactly(line.usd_per_million_tokens),
         fmt::format("{}; from {}{}, read on {}", line.source.title, date_text(line.from),
                     line.is_from_day_read ? " at the latest" : "",
                     date_text(line.source.read_on))});
  }
  return basis;
}

void add_price_notes(const CostModel& model, std::vector<std::string>& notes) {
  const ApiPrices& prices = model.prices();
  if (prices.is_stale()) {
    notes.push_back(fmt::format(
        "STALE PRICES: the table was read {} days before this date, {} at most are current; read a "
        "newer one with --prices",
        prices.age_days, kMaxPriceAgeDays));
  }
  notes.push_back(
      fmt::format("the API's prices are for {}, which may answer differently from the "
                  "model that would run here (quality_penalty_share)",
                  prices.serves));
  notes.insert(notes.end(), prices.notes.begin(), prices.notes.end());
}

std::string traffic_note(const BuyerInputs& inputs) {
  std::string contexts;
  for (const ContextShare& context : inputs.contexts) {
    contexts += fmt::format("{}{} tokens {:g} %", contexts.empty() ? "" : ", ",
                            context.context_tokens, 100 * context.share);
  }
  return fmt::format(
      "traffic by hour: {}; contexts: {}{}; mix, as stated: input {:g} %, cached input "
      "{:g} %, output {:g} %",
      inputs.week_name, contexts, inputs.are_contexts_stated ? "" : " (assumed by Fathom)",
      100 * inputs.mix.input, 100 * inputs.mix.cached_input, 100 * inputs.mix.output);
}

std::vector<std::string> notes_of(const CostModel& model, const CostStudy& study) {
  std::vector<std::string> notes;
  add_price_notes(model, notes);
  notes.push_back(traffic_note(model.inputs()));
  if (study.median.unserved_share > 1e-9) {
    notes.push_back(fmt::format(
        "the busiest hours ask for more than {} machine(s) compute: {:.1f} % of the tokens are not "
        "served, and neither cost nor bill has them",
        model.num_machines(), 100 * study.median.unserved_share));
  }
  const double limit = model.inputs().max_seconds_to_first_token;
  if (limit > 0 && model.seconds_to_first_token() > limit) {
    notes.push_back(
        fmt::format("max_seconds_to_first_token of {:g} s is not kept: the mean prompt "
                    "takes {:.2f} s to prefill, alone on a machine",
                    limit, model.seconds_to_first_token()));
  }
  notes.push_back(
      fmt::format("costs hold while work comes in batches of {} sequence(s); fewer at a "
                  "time decode fewer tokens per second",
                  model.concurrency()));
  return notes;
}

}  // namespace

double TornadoBar::swing_usd() const {
  return std::abs(saving_usd_at_p90 - saving_usd_at_p10);
}

CostStudy study_cost(const CostModel& model, const StudyOptions& options) {
  if (options.num_draws < kFewestDraws || options.num_draws > kMostDraws) {
    fail(ErrorCode::InvalidArgument, "num_draws: found ", options.num_draws, ", expected ",
         kFewestDraws, " to ", kMostDraws);
  }
  const std::vector<Variable> variables = uncertain(model);
  std::vector<CostPoint> points;
  std::vector<CostValues> curve_draws;
  points.reserve(to_size(options.num_draws));
  for (Index idx = 0; idx < options.num_draws; ++idx) {
    CostValues values = draw(model, variables, options.seed, idx);
    points.push_back(model.evaluate(values));
    if (idx < kCurveDraws) {
      curve_draws.push_back(std::move(values));
    }
  }
  CostStudy study;
  study.median = model.evaluate(model.median());
  study.intervals = summarise(points);
  study.tornado = tornado(model, variables);
  study.break_even = break_even(model, curve_draws);
  study.basis = basis_of(model);
  study.notes = notes_of(model, study);
  study.options = options;
  return study;
}

}  // namespace fathom::plan

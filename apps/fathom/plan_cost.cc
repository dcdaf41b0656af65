#include "apps/fathom/plan_cost.h"

#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fathom/base/core/error.h"
#include "fathom/base/formats/text.h"
#include "fathom/base/platform/small_file.h"
#include "fathom/model/config/footprint.h"
#include "fathom/study/plan/cost_study.h"
#include "fathom/study/plan/date.h"
#include "fathom/study/plan/flops.h"
#include "fathom/study/plan/report_sections.h"
#include "fathom/study/plan/training_cost.h"

#include "apps/fathom/plan_cost_json.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;
using plan::BuyerField;
using plan::BuyerInputs;
using plan::Percentiles;
using plan::Quantity;

constexpr double kPercent = 100;
constexpr double kTera = 1e12;

std::string option_name(const char* field) {
  std::string name = "--";
  for (const char* letter = field; *letter != '\0'; ++letter) {
    name += *letter == '_' ? '-' : *letter;
  }
  return name;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  for (std::size_t at = text.find(separator); at != std::string::npos;
       at = text.find(separator, from)) {
    parts.push_back(text.substr(from, at - from));
    from = at + 1;
  }
  parts.push_back(text.substr(from));
  return parts;
}

double read_number(const std::string& option, const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || !std::isfinite(number)) {
    fail(ErrorCode::InvalidArgument, option, ": found ", formats::quote(text),
         ", expected a number");
  }
  return number;
}

std::vector<double> read_numbers(const std::string& option,
                                 const std::string& text,
                                 char separator) {
  std::vector<double> numbers;
  for (const std::string& part : split(text, separator)) {
    numbers.push_back(read_number(option, part));
  }
  return numbers;
}

Quantity read_quantity(const std::string& option, const std::string& text) {
  const std::vector<double> numbers = read_numbers(option, text, ',');
  if (numbers.size() == 1) {
    return Quantity::stated(numbers[0]);
  }
  if (numbers.size() != 3) {
    fail(ErrorCode::InvalidArgument, option, ": found ", numbers.size(),
         " numbers, expected one, or p10,p50,p90");
  }
  return Quantity::stated(Percentiles{numbers[0], numbers[1], numbers[2]});
}

plan::TokenMix read_mix(const std::string& text) {
  const std::vector<double> parts = read_numbers("--mix", text, ':');
  if (parts.size() != 3 || !(std::abs(parts[0] + parts[1] + parts[2] - kPercent) <= 1e-6)) {
    fail(ErrorCode::InvalidArgument, "--mix: found ", formats::quote(text),
         ", expected INPUT:OUTPUT:CACHED in percent of all tokens, 100 together: 20:30:50");
  }
  return {.input = parts[0] / kPercent,
          .cached_input = parts[2] / kPercent,
          .output = parts[1] / kPercent};
}

std::vector<plan::ContextShare> read_contexts(const std::string& text) {
  std::vector<plan::ContextShare> contexts;
  for (const std::string& part : split(text, ',')) {
    const std::vector<double> pair = read_numbers("--contexts", part, ':');
    if (pair.size() != 2 || !(pair[0] >= 1 && pair[0] <= 1e12) || pair[0] != std::floor(pair[0])) {
      fail(ErrorCode::InvalidArgument, "--contexts: found ", formats::quote(part),
           ", expected TOKENS:PERCENT, with all of them 4096:70,65536:30");
    }
    contexts.push_back({static_cast<Index>(pair[0]), pair[1] / kPercent});
  }
  return contexts;
}

// v4-flash and v4-pro answer over the API as well.
std::string api_model_of(const std::string& model) {
  constexpr std::string_view kPrefix = "v4-";
  return model.starts_with(kPrefix) ? model.substr(kPrefix.size()) : "";
}

BuyerInputs buyer_of(const CostOptions& options, const std::string& model) {
  BuyerInputs inputs;
  inputs.api_model = api_model_of(model);
  if (!options.buyer_file.empty()) {
    inputs = plan::read_buyer(platform::read_file(options.buyer_file), options.buyer_file,
                              std::move(inputs));
  }
  for (const BuyerField& field : plan::buyer_fields()) {
    const auto stated = options.fields.find(field.name);
    if (stated != options.fields.end() && !stated->second.empty()) {
      inputs.*field.quantity = read_quantity(option_name(field.name), stated->second);
    }
  }
  if (!options.mix.empty()) {
    inputs.mix = read_mix(options.mix);
  }
  if (!options.contexts.empty()) {
    inputs.contexts = read_contexts(options.contexts);
    inputs.are_contexts_stated = true;
  }
  if (!options.traffic.empty()) {
    inputs.week = plan::named_week(options.traffic);
    inputs.week_name = options.traffic;
  }
  inputs.api_provider = options.api_provider.empty() ? inputs.api_provider : options.api_provider;
  inputs.api_model = options.api_model.empty() ? inputs.api_model : options.api_model;
  if (inputs.api_model.empty()) {
    fail(ErrorCode::InvalidArgument,
         "api_model: is missing, expected --api-model flash or pro: ", formats::quote(model),
         " is not one that an API is known for");
  }
  return inputs;
}

plan::Time date_of(const CostOptions& options) {
  return options.date.empty() ? plan::now() : plan::parse_date(options.date, "--date");
}

// The caller's own run; where it says nothing, the model's published tokens on the hardware, at the
// utilisation and the price of DeepSeek-V3.
plan::TrainingPlan training_plan(const CostOptions& options,
                                 const std::string& model,
                                 const config::ModelConfig& config) {
  const plan::PublishedTraining& v3 = plan::deepseek_v3_training();
  plan::TrainingPlan run;
  run.name = model;
  run.tokens = options.training_tokens;
  for (const plan::TrainingScenario& scenario : plan::v4_scenarios()) {
    if (run.tokens == 0 && scenario.model == model) {
      run.tokens = scenario.plan.tokens;
    }
  }
  if (run.tokens == 0) {
    fail(ErrorCode::InvalidArgument, "--train-tokens: is missing, and nothing is published for ",
         formats::quote(model), ": expected tokens, 1e12");
  }
  const auto active = static_cast<double>(config::count_parameters(config).active);
  run.flop_per_token = plan::rule_of_thumb_training_flop(active, 1);
  run.flop_basis = fmt::format("6ND with {:.4g}B active parameters", active / 1e9);
  const bool is_hardware_stated = options.peak_tflop_per_s > 0 || options.training_utilisation > 0;
  if (is_hardware_stated && !(options.peak_tflop_per_s > 0 && options.training_utilisation > 0)) {
    fail(ErrorCode::InvalidArgument,
         "--gpu-peak-tflops, --train-utilisation: found one of them, expected both or neither");
  }
  run.peak_flop_per_s =
      is_hardware_stated ? options.peak_tflop_per_s * kTera : v3.dense_peak_flop_per_s;
  run.utilisation = is_hardware_stated ? options.training_utilisation : v3.utilisation();
  run.usd_per_gpu_hour = options.usd_per_gpu_hour > 0 ? options.usd_per_gpu_hour
                                                      : static_cast<double>(v3.usd_per_gpu_hour);
  run.num_accelerators = options.num_accelerators;
  run.hardware_basis = fmt::format(
      "{:.0f} TFLOP/s peak at {:.1f} % {}, ${:g} per hour {}", run.peak_flop_per_s / kTera,
      kPercent * run.utilisation,
      is_hardware_stated ? "as stated" : "as DeepSeek-V3 reached on H800", run.usd_per_gpu_hour,
      options.usd_per_gpu_hour > 0 ? "as stated" : "as DeepSeek-V3 counted");
  return run;
}

// Whoever states a price asks for the cost: each of these options turns --cost on.
void add_buyer_options(CLI::App& command, CostOptions& options) {
  const auto wants_cost = [&options](const std::string&) { options.with_cost = true; };
  constexpr const char* kGroup =
      "Cost, as the buyer says (a NUMBER, or p10,p50,p90; any of these turns --cost on)";
  for (const BuyerField& field : plan::buyer_fields()) {
    command.add_option(option_name(field.name), options.fields[field.name], field.meaning)
        ->type_name("NUMBER")
        ->group(kGroup)
        ->each(wants_cost);
  }
  const auto add = [&](const char* name, std::string& text, const char* meaning, const char* type) {
    command.add_option(name, text, meaning)->type_name(type)->group(kGroup)->each(wants_cost);
  };
  add("--mix", options.mix,
      "Percent of all tokens that are input, output and cached input: 20:30:50",
      "INPUT:OUTPUT:CACHED");
  add("--contexts", options.contexts, "Percent of the sequences by context: 4096:70,65536:30",
      "TOKENS:PERCENT,...");
  add("--traffic", options.traffic, "When tokens are asked for (default: flat)",
      "flat|office-beijing|office-europe|office-us");
  add("--api-provider", options.api_provider, "Whose prices (default: deepseek)", "NAME");
  add("--api-model", options.api_model, "The model in the price table (default: by MODEL)", "NAME");
  add("--buyer", options.buyer_file, "All of these in a TOML file (docs/planning-costs.md)",
      "FILE");
  add("--prices", options.prices_file, "Another price table than the program's data/prices.toml",
      "FILE");
  add("--date", options.date, "Prices of this day (default: today)", "YYYY-MM-DD");
  command.add_option("--draws", options.num_draws, "Draws for the intervals")
      ->capture_default_str()
      ->type_name("N")
      ->group(kGroup)
      ->each(wants_cost);
  command.add_option("--seed", options.seed, "Of the draws")
      ->capture_default_str()
      ->type_name("N")
      ->group(kGroup)
      ->each(wants_cost);
}

void add_training_options(CLI::App& command, CostOptions& options) {
  const auto wants_training = [&options](const std::string&) { options.with_training = true; };
  constexpr const char* kGroup = "Training cost (any of these turns --train on)";
  const auto add = [&](const char* name, auto& value, const char* meaning, const char* type) {
    return command.add_option(name, value, meaning)
        ->type_name(type)
        ->group(kGroup)
        ->each(wants_training);
  };
  add("--train-tokens", options.training_tokens, "Tokens (default: published for v4-flash, v4-pro)",
      "N")
      ->check(CLI::PositiveNumber);
  add("--train-context", options.training_context_tokens, "Length of the sequences", "TOKENS")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  add("--gpu-peak-tflops", options.peak_tflop_per_s,
      "Dense peak of an accelerator (default: H800, as DeepSeek-V3)", "TFLOP/S")
      ->check(CLI::PositiveNumber);
  add("--train-utilisation", options.training_utilisation, "Share of the peak that is reached",
      "0...1")
      ->check(CLI::PositiveNumber);
  add("--gpu-usd-per-hour", options.usd_per_gpu_hour, "Price of an accelerator's hour (default: 2)",
      "USD")
      ->check(CLI::PositiveNumber);
  add("--gpus", options.num_accelerators, "Accelerators, for days on a calendar", "N")
      ->check(CLI::PositiveNumber);
}

}  // namespace

void add_cost_options(CLI::App& command, CostOptions& options) {
  command.add_flag("--cost", options.with_cost, "What tokens cost on this machine and over an API");
  command.add_flag("--train", options.with_training, "What training the model would cost");
  command.add_flag("--markdown", options.as_markdown, "The report as Markdown on stdout");
  command.add_option("--html", options.html_file, "The report with charts as one HTML page")
      ->type_name("FILE");
  add_buyer_options(command, options);
  add_training_options(command, options);
}

CostAnswer answer_cost(const CostOptions& options,
                       const std::string& model,
                       const plan::MachineSpeed& speed) {
  BuyerInputs inputs = buyer_of(options, model);
  const plan::PriceTable table =
      options.prices_file.empty()
          ? plan::PriceTable::builtin()
          : plan::PriceTable::parse(platform::read_file(options.prices_file), options.prices_file);
  plan::ApiPrices prices = table.at(inputs.api_provider, inputs.api_model, date_of(options));
  const plan::CostModel cost(std::move(inputs), speed, std::move(prices));
  const plan::CostStudy study =
      plan::study_cost(cost, {.num_draws = options.num_draws, .seed = options.seed});
  return {cost_json(cost, study), plan::cost_section(cost, study)};
}

CostAnswer answer_training(const CostOptions& options,
                           const std::string& model,
                           const config::ModelConfig& config) {
  const plan::TrainingPlan run = training_plan(options, model, config);
  const double exact = plan::training_flop_per_token(config, options.training_context_tokens);
  Json out;
  out["training_cost_usd"] = plan::estimate(run).usd;
  out["training"] = training_json(run);
  out["training"]["flop_per_token_6nd"] = run.flop_per_token;
  out["training"]["flop_per_token_with_attention"] = exact;
  out["training"]["context_tokens"] = options.training_context_tokens;
  out["training"]["included"] = plan::included_in_training_cost();
  out["training"]["not_included"] = plan::excluded_from_training_cost();
  out["training_published"] = published_training_json();
  out["training_scenarios"] = training_scenarios_json(model);
  plan::TrainingQuestion question;
  question.config = &config;
  question.model = model;
  question.sequence_tokens = options.training_context_tokens;
  question.plans = {run};
  return {std::move(out), plan::training_section(question)};
}

void write_html(const CostOptions& options, const chart::Report& report) {
  if (options.html_file.empty()) {
    return;
  }
  platform::write_file(options.html_file, chart::to_html(report));
}

}  // namespace fathom::app

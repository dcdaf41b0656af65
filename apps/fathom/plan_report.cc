#include "apps/fathom/plan_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fathom/base/formats/number_text.h"
#include "fathom/study/plan/report_sections.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;
using chart::Section;
using chart::Table;
using plan::Percentiles;

constexpr double kGiga = 1e9;
constexpr double kPercent = 100;

Json json_of(const std::optional<Percentiles>& values) {
  if (!values) {
    return nullptr;
  }
  return {{"p10", values->p10}, {"p50", values->p50}, {"p90", values->p90}};
}

Json json_of(const plan::Fit& fit) {
  return {{"fits", fit.is_known ? Json(fit.fits) : Json(nullptr)},
          {"reason", fit.reason.empty() ? Json(nullptr) : Json(fit.reason)}};
}

Json json_of(const plan::MemoryParts& parts) {
  return {{"weights", parts.weights_bytes},
          {"cache", parts.cache_bytes},
          {"raw_rows", parts.raw_rows_bytes},
          {"step", parts.step_bytes},
          {"rounding", parts.rounding_bytes},
          {"process", parts.process_bytes},
          {"total", parts.total()}};
}

std::string gigabytes(Index bytes) {
  const double value = static_cast<double>(bytes) / kGiga;
  return value < 10 ? fmt::format("{:.3f}", value) : fmt::format("{:.1f}", value);
}

// Three significant digits of each.
std::string interval(const std::optional<Percentiles>& values) {
  return values ? fmt::format("{:.3g} ({:.3g} to {:.3g})", values->p50, values->p10, values->p90)
                : "-";
}

std::string fit_text(const plan::Fit& fit) {
  const std::string_view text = !fit.is_known ? "?" : fit.fits ? "yes" : "no";
  return std::string(text);
}

Table::Column text_column(const std::string& name) {
  return {.name = name, .is_number = false};
}
Table::Column number_column(const std::string& name) {
  return {.name = name, .is_number = true};
}

// The usual lengths that the model reaches, those asked for, and the model's own.
std::vector<Index> cache_contexts(const plan::PlanRequest& request) {
  std::vector<Index> contexts = {4096, 131072, 1048576, request.config.max_context};
  contexts.insert(contexts.end(), request.contexts.begin(), request.contexts.end());
  std::sort(contexts.begin(), contexts.end());
  contexts.erase(std::unique(contexts.begin(), contexts.end()), contexts.end());
  std::erase_if(contexts, [&](Index context) { return context > request.config.max_context; });
  return contexts;
}

double deviation_percent(Index own, double published) {
  return kPercent * (static_cast<double>(own) / published - 1);
}

Json parameters_json(const PlanAnswer& answer) {
  const config::ParameterCount& count = answer.plan.parameters;
  Json parameters = {{"total", count.total},
                     {"total_with_mtp", count.total + count.mtp},
                     {"active", count.active}};
  if (const auto published = plan::find_published_size(answer.model)) {
    const Index total = count.total + (published->with_mtp ? count.mtp : 0);
    parameters["published"] = {
        {"total", published->total},
        {"total_is_with_mtp", published->with_mtp},
        {"total_deviation_percent", deviation_percent(total, published->total)},
        {"active", published->active},
        {"active_deviation_percent", deviation_percent(count.active, published->active)}};
  }
  return parameters;
}

Json cells_json(const PlanAnswer& answer) {
  Json cells = Json::array();
  for (const plan::DecodeCell& cell : answer.plan.decode) {
    Json row = {
        {"context_tokens", cell.context},
        {"batch", cell.batch},
        {"memory_bytes", json_of(cell.memory)},
        {"weights_are_in", answer.machine ? Json(plan::to_string(cell.placement)) : Json(nullptr)},
        {"reason", cell.reason.empty() ? Json(nullptr) : Json(cell.reason)},
        {"tokens_per_s", json_of(cell.tokens_per_s)}};
    if (answer.request.mtp_acceptance) {
      row["drafted_tokens_per_s"] = json_of(cell.drafted_tokens_per_s);
    }
    cells.push_back(std::move(row));
  }
  return cells;
}

Json fits_json(const plan::Plan& plan) {
  Json fits = Json::array();
  for (const plan::QuantisationFit& fit : plan.fits) {
    fits.push_back({{"storage", fit.quantisation.name},
                    {"what", fit.quantisation.title},
                    {"weights_bytes", fit.weights_bytes},
                    {"decode_bytes_per_token", fit.decode_bytes_per_token},
                    {"ram", json_of(fit.ram)},
                    {"ram_and_disk", json_of(fit.ram_and_disk)},
                    {"accelerators", json_of(fit.accelerators)}});
  }
  return fits;
}

Section parameters_section(const PlanAnswer& answer) {
  const config::ParameterCount& count = answer.plan.parameters;
  Table table{.caption = "",
              .columns = {text_column(""), number_column("parameters"), number_column("published"),
                          number_column("deviation, %")},
              .rows = {}};
  const auto published = plan::find_published_size(answer.model);
  const auto add = [&](const std::string& name, Index number, std::optional<double> other) {
    table.rows.push_back({name, formats::grouped(number),
                          other ? fmt::format("{:.3g}", *other) : "",
                          other ? fmt::format("{:+.2f}", deviation_percent(number, *other)) : ""});
  };
  const bool with_mtp = published && published->with_mtp;
  add("total, without MTP", count.total,
      published && !with_mtp ? std::optional(published->total) : std::nullopt);
  add("total, with MTP", count.total + count.mtp,
      with_mtp ? std::optional(published->total) : std::nullopt);
  add("active per token", count.active,
      published ? std::optional(published->active) : std::nullopt);
  return {.heading = "Parameters",
          .paragraphs = {"Active: the layers with the chosen experts, and the head; the embedding "
                         "is a table of which a token reads a row."},
          .points = {},
          .charts = {},
          .tables = {std::move(table)}};
}

Section weights_section(const PlanAnswer& answer) {
  Table parts{.caption = "Weights by part",
              .columns = {text_column("part"), number_column("GB"), number_column("bytes")},
              .rows = {}};
  std::vector<plan::MemoryPart> drawn;
  for (const config::WeightPart& part : config::kWeightParts) {
    if (const Index bytes = answer.plan.weights.*part.bytes; bytes > 0) {
      parts.rows.push_back({part.name, gigabytes(bytes), formats::grouped(bytes)});
      drawn.push_back({part.name, static_cast<double>(bytes)});
    }
  }
  const Index total = answer.plan.weights.total();
  parts.rows.push_back({"total", gigabytes(total), formats::grouped(total)});
  Table formats{.caption = "Weights by format",
                .columns = {text_column("format"), number_column("GB")},
                .rows = {}};
  for (const auto& [format, bytes] :
       plan::weights_by_format(answer.request.config, answer.request.storage)) {
    formats.rows.push_back({format, gigabytes(bytes)});
  }
  Table cache{.caption = "Cache of one sequence",
              .columns = {number_column("tokens"), number_column("GB, rows as here"),
                          number_column("GB, packed layout of others")},
              .rows = {}};
  for (const Index context : cache_contexts(answer.request)) {
    cache.rows.push_back(
        {formats::grouped(context),
         gigabytes(config::cache_bytes(answer.request.config, context, config::kFastCache)),
         gigabytes(config::packed_cache_bytes(answer.request.config, context))});
  }
  return {.heading = "Memory",
          .paragraphs = {fmt::format("Storage: {}.", answer.storage),
                         fmt::format("Decoding one token reads {} GB of weights.",
                                     gigabytes(answer.plan.decode_bytes_per_token))},
          .points = {},
          .charts = plan::memory_section(drawn).charts,
          .tables = {std::move(parts), std::move(formats), std::move(cache)}};
}

Section fit_section(const PlanAnswer& answer) {
  Table table{.caption = "",
              .columns = {text_column("storage"), number_column("weights, GB"),
                          number_column("read per token, GB"), text_column("in memory"),
                          text_column("experts on disk"), text_column("accelerators"),
                          text_column("why not in memory")},
              .rows = {}};
  for (const plan::QuantisationFit& fit : answer.plan.fits) {
    table.rows.push_back({fit.quantisation.name, gigabytes(fit.weights_bytes),
                          gigabytes(fit.decode_bytes_per_token), fit_text(fit.ram),
                          fit_text(fit.ram_and_disk), fit_text(fit.accelerators), fit.ram.reason});
  }
  return {.heading = "What fits where",
          .paragraphs = {fmt::format(
              "{} sequence(s) of {} tokens; a twentieth of the memory is left to the system. "
              "Fathom computes on the processor: accelerators count for their memory alone.",
              answer.request.batches.front(), formats::grouped(answer.request.contexts.front()))},
          .points = {},
          .charts = {},
          .tables = {std::move(table)}};
}

Section decode_section(const PlanAnswer& answer) {
  const bool is_drafted = answer.request.mtp_acceptance.has_value();
  Table table{
      .caption = "Decoding, tokens per second of all sequences: median (p10 to p90)",
      .columns = {number_column("context"), number_column("sequences"), number_column("memory, GB"),
                  text_column("weights in"), number_column("tokens/s")},
      .rows = {}};
  if (is_drafted) {
    table.columns.push_back(number_column("with drafts"));
  }
  std::vector<std::string> reasons;
  for (const plan::DecodeCell& cell : answer.plan.decode) {
    table.rows.push_back({formats::grouped(cell.context), formats::grouped(cell.batch),
                          gigabytes(cell.memory.total()),
                          std::string(plan::to_string(cell.placement)),
                          interval(cell.tokens_per_s)});
    if (is_drafted) {
      table.rows.back().push_back(interval(cell.drafted_tokens_per_s));
    }
    if (!cell.reason.empty() &&
        std::find(reasons.begin(), reasons.end(), cell.reason) == reasons.end()) {
      reasons.push_back(cell.reason);
    }
  }
  const plan::PrefillResult& prefill = answer.plan.prefill;
  return {
      .heading = fmt::format("Speed on {}", answer.machine->machine.name),
      .paragraphs = {fmt::format("{} ({}).", answer.machine->machine.title, answer.machine->origin),
                     fmt::format("A prompt of {} tokens, {} of them to be computed: {} "
                                 "tokens/s, the first token after {} s.",
                                 formats::grouped(prefill.prompt_tokens),
                                 formats::grouped(prefill.computed_tokens),
                                 interval(prefill.tokens_per_s), interval(prefill.first_token_s))},
      .points = std::move(reasons),
      .charts = {},
      .tables = {std::move(table)}};
}

}  // namespace

Json machine_json(const plan::Machine& machine) {
  Json figures = Json::array();
  for (const plan::Figure& figure : machine.figures) {
    Json row = {{"what", plan::to_string(figure.kind)}, {"value", figure.value}};
    if (figure.at > 0) {
      row["at"] = figure.at;
    }
    if (figure.of) {
      row["of"] = plan::to_string(*figure.of);
    }
    row["spread"] = figure.spread;
    row["basis"] = plan::to_string(figure.basis);
    row["source"] = figure.source;
    row["date"] = figure.date;
    figures.push_back(std::move(row));
  }
  return {{"name", machine.name}, {"title", machine.title}, {"figures", figures}};
}

std::string machine_text(const plan::Machine& machine) {
  std::string text = fmt::format("{}: {}\n", machine.name, machine.title);
  for (const plan::Figure& figure : machine.figures) {
    std::string name(plan::to_string(figure.kind));
    if (figure.of) {
      name += fmt::format(" of {}", plan::to_string(*figure.of));
    }
    if (figure.at > 0) {
      name += fmt::format(" at {:g}", figure.at);
    }
    text += fmt::format("  {:<40}{:>12.4g}", name, figure.value);
    text += figure.spread > 0 ? fmt::format("  +-{:.0f} %", kPercent * figure.spread) : "";
    text += "\n";
  }
  return text;
}

Json plan_json(const PlanAnswer& answer) {
  const config::ModelConfig& model = answer.request.config;
  const plan::Plan& plan = answer.plan;
  Json out;
  out["model"] = answer.model;
  out["kind"] = answer.kind;
  out["family"] = config::to_string(model.family);
  out["storage"] = answer.storage;
  out["parameters"] = parameters_json(answer);
  out["weights_bytes"] = plan.weights.total();
  for (const config::WeightPart& part : config::kWeightParts) {
    if (plan.weights.*part.bytes > 0) {
      out["weights_bytes_by_part"][part.name] = plan.weights.*part.bytes;
    }
  }
  out["weights_bytes_by_format"] = plan::weights_by_format(model, answer.request.storage);
  out["panel_bytes"] = plan::panel_bytes(model, answer.request.storage);
  out["decode_bytes_per_token"] = plan.decode_bytes_per_token;
  for (std::size_t idx = 0; idx < plan::kNumWorks; ++idx) {
    out["decode_work_per_token"][plan::to_string(static_cast<plan::Work>(idx))] =
        plan.decode_work[idx];
  }
  out["cache_bytes_per_token"] = config::cache_bytes_per_token(model, config::kFastCache);
  out["packed_cache_bytes_per_token"] = config::packed_cache_bytes_per_token(model);
  for (const Index context : cache_contexts(answer.request)) {
    const std::string key = std::to_string(context);
    out["cache_bytes_at_context"][key] = config::cache_bytes(model, context, config::kFastCache);
    out["packed_cache_bytes_at_context"][key] = config::packed_cache_bytes(model, context);
  }
  out["raw_row_bytes_per_token"] = config::raw_row_bytes_per_token(model, config::kFastCache);
  out["memory_bytes"] = json_of(plan.decode.front().memory);
  out["machine"] = answer.machine ? machine_json(answer.machine->machine) : Json(nullptr);
  out["machine_from"] = answer.machine ? Json(answer.machine->origin) : Json(nullptr);
  out["fits"] = fits_json(plan);
  out["no_speed"] = plan.no_speed.empty() ? Json(nullptr) : Json(plan.no_speed);
  out["decode_tokens_per_s"] = json_of(plan.decode.front().tokens_per_s);
  out["prefill_tokens_per_s"] = json_of(plan.prefill.tokens_per_s);
  out["first_token_s"] = json_of(plan.prefill.first_token_s);
  out["prompt_tokens"] = plan.prefill.prompt_tokens;
  out["computed_prompt_tokens"] = plan.prefill.computed_tokens;
  out["decode"] = cells_json(answer);
  return out;
}

chart::Report plan_report(const PlanAnswer& answer) {
  chart::Report report{
      .title = fmt::format("Plan of {}", answer.model), .summary = {}, .sections = {}};
  report.sections = {parameters_section(answer), weights_section(answer)};
  if (!answer.plan.fits.empty()) {
    report.sections.push_back(fit_section(answer));
  }
  if (answer.plan.no_speed.empty()) {
    report.sections.push_back(decode_section(answer));
    if (const std::optional<plan::MachineSpeed> speed = machine_speed(answer)) {
      report.sections.back().charts = plan::speed_section(*speed).charts;
    }
  } else {
    report.sections.push_back({.heading = "Speed",
                               .paragraphs = {fmt::format("Not known: {}.", answer.plan.no_speed)},
                               .points = {},
                               .charts = {},
                               .tables = {}});
  }
  return report;
}

std::optional<plan::MachineSpeed> machine_speed(const PlanAnswer& answer) {
  if (!answer.plan.prefill.tokens_per_s) {
    return std::nullopt;
  }
  plan::MachineSpeed speed;
  speed.prefill_tokens_per_s = *answer.plan.prefill.tokens_per_s;
  speed.basis = fmt::format("speed model on the figures of {} ({})", answer.machine->machine.name,
                            answer.machine->origin);
  for (const plan::DecodeCell& cell : answer.plan.decode) {
    if (!cell.tokens_per_s) {
      return std::nullopt;
    }
    speed.decode.push_back({.context_tokens = cell.context,
                            .concurrency = cell.batch,
                            .tokens_per_s = *cell.tokens_per_s});
  }
  return speed;
}

}  // namespace fathom::app

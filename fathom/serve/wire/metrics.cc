#include "fathom/serve/wire/metrics.h"

#include <array>
#include <functional>

#include <fmt/format.h>

namespace fathom::wire {
namespace {

using engine::EngineStats;
using engine::Histogram;

struct Metric {
  std::string_view name;
  std::string_view type;  // gauge | counter
  std::string_view help;
  std::string_view label;  // beside the model, as `, key="value"`; rows of one name stand together
  double (*value)(const EngineStats& stats);
};

// The one list of metrics.
constexpr auto kMetrics = std::to_array<Metric>({
    {"fathom_requests_waiting", "gauge", "Requests in the queue.", "",
     [](const EngineStats& s) { return static_cast<double>(s.num_waiting); }},
    {"fathom_requests_running", "gauge", "Sequences that are being computed.", "",
     [](const EngineStats& s) { return static_cast<double>(s.num_running); }},
    {"fathom_cache_bytes", "gauge", "Memory of caches in use.", "",
     [](const EngineStats& s) { return static_cast<double>(s.cache_bytes); }},
    {"fathom_cache_budget_bytes", "gauge", "Memory that caches may use.", "",
     [](const EngineStats& s) { return static_cast<double>(s.cache_budget_bytes); }},
    {"fathom_decode_tokens_per_second", "gauge", "Tokens of replies in the last seconds.", "",
     [](const EngineStats& s) { return s.decode_tokens_per_s; }},
    {"fathom_requests_total", "counter", "Requests by what became of them.", ",outcome=\"served\"",
     [](const EngineStats& s) { return static_cast<double>(s.requests_served); }},
    {"fathom_requests_total", "counter", "", ",outcome=\"failed\"",
     [](const EngineStats& s) { return static_cast<double>(s.requests_failed); }},
    {"fathom_requests_total", "counter", "", ",outcome=\"cancelled\"",
     [](const EngineStats& s) { return static_cast<double>(s.requests_cancelled); }},
    {"fathom_requests_total", "counter", "", ",outcome=\"rejected\"",
     [](const EngineStats& s) { return static_cast<double>(s.requests_rejected); }},
    {"fathom_prompt_tokens_total", "counter", "Tokens of prompts, cached ones included.", "",
     [](const EngineStats& s) { return static_cast<double>(s.prompt_tokens); }},
    {"fathom_cached_tokens_total", "counter", "Tokens of prompts that were not computed again.",
     ",kind=\"memory\"",
     [](const EngineStats& s) { return static_cast<double>(s.cached_tokens_memory); }},
    {"fathom_cached_tokens_total", "counter", "", ",kind=\"disk\"",
     [](const EngineStats& s) { return static_cast<double>(s.cached_tokens_disk); }},
    {"fathom_reply_tokens_total", "counter", "Tokens of replies.", "",
     [](const EngineStats& s) { return static_cast<double>(s.reply_tokens); }},
    {"fathom_steps_total", "counter", "Steps of the engine.", "",
     [](const EngineStats& s) { return static_cast<double>(s.steps); }},
    {"fathom_step_tokens_total", "counter",
     "Tokens computed by all steps; divided by the steps, the mean batch.", "",
     [](const EngineStats& s) { return static_cast<double>(s.step_tokens); }},
    {"fathom_preemptions_total", "counter", "Sequences put back into the queue.", "",
     [](const EngineStats& s) { return static_cast<double>(s.preemptions); }},
    {"fathom_drafted_tokens_total", "counter", "Tokens that the draft block proposed.", "",
     [](const EngineStats& s) { return static_cast<double>(s.drafted_tokens); }},
    {"fathom_accepted_drafts_total", "counter", "Of these, tokens that the model drew itself.", "",
     [](const EngineStats& s) { return static_cast<double>(s.accepted_drafts); }},
});

struct HistogramMetric {
  std::string_view name;
  std::string_view help;
  Histogram EngineStats::*histogram;
};

constexpr auto kHistograms = std::to_array<HistogramMetric>({
    {"fathom_time_to_first_token_seconds", "From a request's arrival to its first token.",
     &EngineStats::time_to_first_token},
    {"fathom_inter_token_seconds", "Between two tokens of a reply.", &EngineStats::inter_token},
    {"fathom_queue_wait_seconds", "From a request's arrival to its first step.",
     &EngineStats::queue_wait},
});

// A label's value: backslash, quote and line feed are escaped.
std::string escaped(std::string_view value) {
  std::string result;
  for (const char c : value) {
    if (c == '\\' || c == '"') {
      result.push_back('\\');
    }
    if (c == '\n') {
      result += "\\n";
    } else {
      result.push_back(c);
    }
  }
  return result;
}

void add_head(std::string& text,
              std::string_view name,
              std::string_view type,
              std::string_view help) {
  text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void add_histogram(std::string& text,
                   const HistogramMetric& metric,
                   const std::string& model,
                   const Histogram& histogram) {
  const auto cumulative = histogram.cumulative();
  for (std::size_t i = 0; i < Histogram::kBoundsS.size(); ++i) {
    text += fmt::format("{}_bucket{{model=\"{}\",le=\"{}\"}} {}\n", metric.name, model,
                        Histogram::kBoundsS[i], cumulative[i]);
  }
  text += fmt::format("{}_bucket{{model=\"{}\",le=\"+Inf\"}} {}\n", metric.name, model,
                      cumulative.back());
  text += fmt::format("{}_sum{{model=\"{}\"}} {}\n", metric.name, model, histogram.sum_s());
  text += fmt::format("{}_count{{model=\"{}\"}} {}\n", metric.name, model, histogram.count());
}

}  // namespace

std::string metrics_text(const std::vector<std::pair<std::string, EngineStats>>& models) {
  std::string text;
  for (const Metric& metric : kMetrics) {
    if (!metric.help.empty()) {
      add_head(text, metric.name, metric.type, metric.help);
    }
    for (const auto& [name, stats] : models) {
      text += fmt::format("{}{{model=\"{}\"{}}} {}\n", metric.name, escaped(name), metric.label,
                          metric.value(stats));
    }
  }
  for (const HistogramMetric& metric : kHistograms) {
    add_head(text, metric.name, "histogram", metric.help);
    for (const auto& [name, stats] : models) {
      add_histogram(text, metric, escaped(name), stats.*metric.histogram);
    }
  }
  return text;
}

}  // namespace fathom::wire

#include "fathom/train/loop/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace fathom::train {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinity and no NaN.
Json number_of(double value) {
  return std::isfinite(value) ? Json(value) : Json(std::isnan(value) ? "nan" : "inf");
}

double per_weight(double sum, const LossSums& sums) {
  return sums.weight > 0 ? sum / sums.weight : 0.0;
}

Json shares_of(const std::vector<std::vector<double>>& expert_tokens) {
  Json layers = Json::array();
  for (const std::vector<double>& layer : expert_tokens) {
    const double total = std::accumulate(layer.begin(), layer.end(), 0.0);
    Json shares = Json::array();
    for (const double tokens : layer) {
      // Five digits are more than a plot shows.
      shares.push_back(total > 0 ? std::round(tokens / total * 1e5) / 1e5 : 0.0);
    }
    layers.push_back(std::move(shares));
  }
  return layers;
}

void add_parts(Json& line, const LossSums& sums) {
  const auto add = [&](const char* name, double sum) {
    if (sum != 0) {
      line[name] = number_of(per_weight(sum, sums));
    }
  };
  add("mtp_loss", sums.mtp_loss);
  add("balance_loss", sums.balance_loss);
  add("indexer_loss", sums.indexer_loss);
}

}  // namespace

std::string step_line(const StepResult& result,
                      const TrainerState& state,
                      const RunTime& time,
                      bool with_experts) {
  Json line = {{"event", "step"},
               {"step", result.step},
               {"tokens", state.tokens},
               {"seconds", time.seconds},
               {"loss", number_of(result.loss)}};
  add_parts(line, result.sums);
  line["gradient_norm"] = number_of(result.gradient_norm);
  line["learning_rate"] = number_of(result.learning_rate);
  line["tokens_per_s"] = number_of(time.tokens_per_s);
  if (with_experts && !result.sums.expert_tokens.empty()) {
    line["expert_shares"] = shares_of(result.sums.expert_tokens);
  }
  return line.dump();
}

std::string refused_line(const StepResult& result, const TrainerState& state) {
  return Json{{"event", "refused"},
              {"step", result.step + 1},
              {"tokens", state.tokens},
              {"why", to_string(result.verdict)},
              {"loss", number_of(result.loss)},
              {"loss_limit", number_of(result.loss_limit)},
              {"gradient_norm", number_of(result.gradient_norm)},
              {"norm_limit", number_of(result.norm_limit)},
              {"refused_in_a_row", state.refused_in_a_row},
              {"refused_steps", state.refused_steps}}
      .dump();
}

std::string rollback_line(Index from_step, Index to_step, const TrainerState& state) {
  return Json{{"event", "rollback"},
              {"step", to_step},
              {"from_step", from_step},
              {"tokens", state.tokens},
              {"refused_steps", state.refused_steps}}
      .dump();
}

std::string validation_line(Index step, const Validation& validation, bool is_best) {
  Json line = {{"event", "validation"},
               {"step", step},
               {"loss", number_of(validation.loss)},
               {"tokens", validation.num_tokens},
               {"is_best", is_best}};
  if (validation.standard_error) {
    line["standard_error"] = number_of(*validation.standard_error);
  }
  add_parts(line, validation.sums);
  return line.dump();
}

std::string loss_text(double loss, const std::optional<double>& standard_error) {
  return standard_error ? fmt::format("{:.4f} +- {:.4f}", loss, *standard_error)
                        : fmt::format("{:.4f}", loss);
}

std::string note_line(std::string_view event, Index step, const std::string& text) {
  return Json{{"event", event}, {"step", step}, {"text", text}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

namespace {

constexpr std::size_t kMostExperts = 4096;  // of a layer, or layers: more is no line of ours

double number_in(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_number() ? found->get<double>() : 0.0;
}

// -1 where there is none.
Index step_in(const Json& line) {
  const auto found = line.find("step");
  return found != line.end() && found->is_number_integer() ? found->get<Index>() : -1;
}

std::string text_in(const Json& line, const char* key) {
  const auto found = line.find(key);
  return found != line.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<std::vector<double>> shares_in(const Json& line) {
  std::vector<std::vector<double>> layers;
  const auto found = line.find("expert_shares");
  if (found == line.end() || !found->is_array() || found->size() > kMostExperts) {
    return layers;
  }
  for (const Json& row : *found) {
    std::vector<double> shares;
    for (const Json& share : row) {
      if (!share.is_number() || shares.size() == kMostExperts) {
        return {};
      }
      shares.push_back(share.get<double>());
    }
    layers.push_back(std::move(shares));
  }
  return layers;
}

MetricsPoint point_of(const Json& line, Index step) {
  return {.step = step,
          .tokens = static_cast<Index>(std::clamp(number_in(line, "tokens"), 0.0, 9e15)),
          .seconds = number_in(line, "seconds"),
          .loss = number_in(line, "loss"),
          .mtp_loss = number_in(line, "mtp_loss"),
          .gradient_norm = number_in(line, "gradient_norm"),
          .learning_rate = number_in(line, "learning_rate"),
          .tokens_per_s = number_in(line, "tokens_per_s"),
          .expert_shares = shares_in(line)};
}

// What comes after `step` was taken back.
template <typename Point>
void drop_after(std::vector<Point>& points, Index step) {
  while (!points.empty() && points.back().step > step) {
    points.pop_back();
  }
}

bool add_event(const Json& line, MetricsHistory& history) {
  const Index step = line.is_object() ? step_in(line) : -1;
  const std::string event = step >= 0 ? text_in(line, "event") : std::string();
  if (event == "step") {
    drop_after(history.steps, step - 1);
    history.steps.push_back(point_of(line, step));
  } else if (event == "validation") {
    drop_after(history.validations, step - 1);
    ValidationPoint point{.step = step, .loss = number_in(line, "loss"), .standard_error = {}};
    if (line.contains("standard_error")) {
      point.standard_error = number_in(line, "standard_error");
    }
    history.validations.push_back(point);
  } else if (event == "rollback") {
    drop_after(history.steps, step);
    drop_after(history.validations, step);
    history.events.push_back(
        fmt::format("went back from step {:g} to step {}", number_in(line, "from_step"), step));
  } else if (event == "refused") {
    history.events.push_back(fmt::format(
        "refused the data of step {}: {} (loss {:.4g}, gradient norm {:.4g})", step,
        text_in(line, "why"), number_in(line, "loss"), number_in(line, "gradient_norm")));
  } else if (event == "resume" || event == "stop") {
    history.events.push_back(fmt::format("step {}: {}", step, text_in(line, "text")));
  }
  return !event.empty();
}

}  // namespace

MetricsHistory parse_metrics(std::string_view text) {
  MetricsHistory history;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!add_event(Json::parse(line, nullptr, false), history)) {
      ++history.num_unreadable;
    }
  }
  return history;
}

}  // namespace fathom::train

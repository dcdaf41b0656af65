#include "apps/fathom/serve_check.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fathom/adapters.h"
#include "fathom/base/core/error.h"
#include "fathom/text_model.h"

#include "apps/fathom/serve_models.h"
#include "apps/fathom/serve_parts.h"

namespace fathom::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kGB = 1e9;
// Lengths of conversations that a table shows.
constexpr Index kLengths[] = {4096, 32768, 131072, 1048576};

struct Fit {
  Index num_tokens;
  Index num_conversations;
};

// How many conversations of a length have room in the cache.
std::vector<Fit> fits(const ModelPlan& plan) {
  std::vector<Fit> rows;
  for (const Index length : kLengths) {
    if (length > plan.context && !rows.empty()) {
      break;
    }
    const Index tokens = std::min(length, plan.context);
    const double bytes = static_cast<double>(plan.cache_bytes_at_context) +
                         plan.cache_bytes_per_token * static_cast<double>(tokens - plan.context);
    rows.push_back({tokens, static_cast<Index>(static_cast<double>(plan.cache_budget_bytes) /
                                               std::max(bytes, 1.0))});
  }
  return rows;
}

std::string describe(const ModelPlan& plan, const TextModel& text) {
  std::string lines = fmt::format(
      "{}\n  file             {}\n  weights          {:.2f} GB, of {:.2f} GB of memory available\n"
      "  context          {} tokens (the model's: {})\n  cache            {:.2f} GB\n",
      plan.name, plan.path, static_cast<double>(plan.file_bytes) / kGB,
      static_cast<double>(plan.available_bytes) / kGB, plan.context, plan.model_context,
      static_cast<double>(plan.cache_budget_bytes) / kGB);
  for (const Fit& fit : fits(plan)) {
    lines +=
        fmt::format("    conversations of {} tokens: {}\n", fit.num_tokens, fit.num_conversations);
  }
  lines += text.format == nullptr ? fmt::format("  conversations    none: {}\n", text.no_format)
                                  : fmt::format("  conversations    {}\n", text.format->name());
  if (!plan.fits) {
    lines +=
        "  note             weights and caches take more than the memory available: expect "
        "reads from disk\n";
  }
  return lines;
}

Json to_json(const ModelPlan& plan, const TextModel& text) {
  Json json = {{"name", plan.name},
               {"path", plan.path},
               {"family", plan.family},
               {"weights_bytes", plan.file_bytes},
               {"available_bytes", plan.available_bytes},
               {"context_tokens", plan.context},
               {"model_context_tokens", plan.model_context},
               {"cache_budget_bytes", plan.cache_budget_bytes},
               {"cache_bytes_per_token", plan.cache_bytes_per_token},
               {"fits", plan.fits},
               {"chat_format", text.format == nullptr ? Json() : Json(text.format->name())}};
  for (const Fit& fit : fits(plan)) {
    json["conversations"][std::to_string(fit.num_tokens)] = fit.num_conversations;
  }
  return json;
}

}  // namespace

void check_serve(const ServeOptions& options) {
  std::vector<ModelPlan> plans = plan_models(options);
  ServeAccess access = open_access(options);
  const auto warn = [&](const std::string& warning) { access.warnings.push_back(warning); };
  for (const NamedAdapter& adapter : named_adapters(options)) {
    const OpenedModel opened = open_model(options.run.model);
    adapted(opened, open_adapter(adapter.path, opened, warn));
  }
  const http::Server server(server_options(options, nullptr), http::Router(), access.keys);
  if (!options.snapshots.empty()) {
    check_snapshot_folder(options.snapshots);
  }
  std::string text = fmt::format("would listen on {}\n", url_of(server, options));
  Json json = {{"listen", url_of(server, options)}, {"models", Json::array()}};
  for (const std::string& warning : access.warnings) {
    text += fmt::format("warning: {}\n", warning);
    json["warnings"].push_back(warning);
  }
  for (const ModelPlan& plan : plans) {
    const TextModel text_model = open_text_model(plan.path, options.dialect);
    text += describe(plan, text_model);
    json["models"].push_back(to_json(plan, text_model));
  }
  print_out(options.run.json ? json.dump() + "\n" : text);
}

}  // namespace fathom::app
